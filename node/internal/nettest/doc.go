// Package nettest puts a network that can fail between nodes that run on loopback. Each direction between two nodes has a
// forwarder for TCP and UDP on one port, through which the one is told to reach the other.
//
//	node a ──dials──▶ 127.x.y.z:p (Net.Forward a, b) ──▶ node b's real address
//
// What is cut is the way of bytes from one node to another, whoever dialled: Cut("a", "b") holds what a writes on all its
// connections with b and drops its packets, while b's still arrive. Bytes in a stream are held, not lost, and go on when
// the way is mended, as TCP would send them again; Reset ends the streams. A connection can be made over a cut way, and
// then carries nothing: the nodes' own time limits have to notice.
package nettest
