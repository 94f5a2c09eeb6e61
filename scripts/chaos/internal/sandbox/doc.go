// Package sandbox gives a chaos run a world of its own that the machine cannot feel and that cannot outlive the run.
//
// # What it is
//
// [Enter] starts this program again as the first process of new PID, mount, network and IPC namespaces (and of a user
// namespace when it is not root). Inside, [NewHost] makes hosts: each a network namespace with one network card, whose
// packets the program itself carries (package fabric). Nothing has a name on the machine: no `ip netns`, no bridge, no
// firewall rule, no mount. So there is nothing to clean up and nothing of anybody else's to touch: when the first
// process ends, however it ends, the kernel kills all processes of its PID namespace, and namespaces, cards and mounts
// go with the last of them. That also holds for SIGKILL and for a crash of the program.
//
// # Threads
//
// A network namespace belongs to a thread. Each host has one thread for its whole life, and processes of the host are
// started from it; they die with it (PDEATHSIG). The program's own sockets are in the sandbox's first namespace, which
// has a card as well ([Home]).
//
// # Limits
//
// Linux only. Needs either root or a kernel that allows user namespaces, and /dev/net/tun. IPv4 only.
package sandbox
