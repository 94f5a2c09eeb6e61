// Package fabric is the network between the hosts of a chaos run: a switch in user space that carries every IPv4 packet
// and does to it what the link between its sender and its receiver is told to do.
//
// # Links
//
// A link has a direction: what node 1 sends to node 2 may be lost while the way back works. Each link has a [Rule]:
// cut it silently (DROP: what a broken cable or an overloaded router does) or with a refusal (REJECT: a TCP reset or an
// ICMP "port unreachable", what a firewall does), lose, repeat, delay and reorder packets, or lose large ones only (a
// path whose MTU is smaller than the cards say). The hosts' kernels do the rest: retransmission, back-off, resets. Beside
// what its rule says, a link is as long as the distance of its hosts.
//
//	host --card--> read --[rule: cut? lose? how late? twice?]--> heap of late packets --> write --card--> host
//
// # Concurrency
//
// One goroutine reads each card; rules may be set at any time and hold for the next packet. Packets that are under way
// when a link is cut are lost as well.
package fabric
