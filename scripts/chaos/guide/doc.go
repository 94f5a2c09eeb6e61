// Package guide runs the commands of scripts/OPERATING.md. Its test makes machines of network namespaces (package sandbox)
// whose root is this machine's own under an overlay in memory, in which the package is installed with dpkg, and carries
// out every block of the guide in order, where its `on=` says. A block of kind text behind one is what it must have
// printed, … standing for anything. No block may be without a place, and a command in the running text must be one that
// was run.
//
// systemctl, journalctl and scp are stand-ins (testdata): no service manager runs in a namespace. systemctl starts what the
// installed unit says, as the user that it says, with its credentials and environment.
package guide
