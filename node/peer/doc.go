// Package peer is the dedicated link between the processors of a cluster: TCP, TLS 1.3, both sides proved by the
// Ed25519 keys that the configuration pins. It moves opaque messages; what they mean is its user's business.
//
// # Promise
//
// A message or request reaches the handler only from a configured peer that proved its key, and the sender's id that
// the handler sees is the one which that key has in this node's configuration. One-way messages of one connection
// arrive in the order sent, each at most once, or not at all: with a lost connection goes whatever was queued or on its
// way, and the protocol above repairs that. Nothing a peer sends or fails to send makes Send block.
//
// # Keys
//
// There is no authority and nothing expires. Each node wraps its key in a certificate that it makes at start; of the
// other side's certificate only the public key is read, and TLS itself proves that the private one is there. A server
// accepts any configured peer's key, a client only that of the peer it dialled. Sessions are never resumed, so every
// connection proves its keys anew.
//
// # Connections
//
// Every node dials every peer, twice: the stream carries one-way messages, the rpc connection requests and their
// answers, so that bulk never delays a proposal. Two nodes thus have four connections between them. A node sends only on
// connections that it dialled, which makes "I can reach you" and "you can reach me" two facts, as they are in a network
// with one-way faults.
//
//	dialler                         accepter
//	  | -- TLS 1.3, ALPN baton/1 ---> |   both keys proved, else the end
//	  | -- hello{role, from, to} ---> |
//	  | <-- welcome or refused{text}- |   a welcome: PeerUp (stream)
//	  | -- message... / request... -> |
//	  | <-- response, failure ------- |   (rpc)
//	  | <-------- ping -------------> |   both ways, when nothing else was written for a third of IdleTimeout
//
// The welcome matters: in TLS 1.3 a client's handshake succeeds before the server has looked at the client's key.
//
//	waiting --attempt--> dialling --welcome--> up --error, silence of IdleTimeout--> waiting
//	   ^                    |
//	   +------ failed ------+
//
// The wait between attempts doubles from BackoffMin to BackoffMax with jitter; a connection that lived BackoffMax
// resets it, and so does an incoming connection from that peer, since it is evidently back. A second incoming
// connection of the same role from the same peer replaces the first, whose loss may not have been noticed here.
//
// # Frames
//
//	4 bytes  length of what follows, big-endian, 1 .. MaxFrameBytes-4
//	1 byte   class
//	rest     hello:    version 1, role (1 stream, 2 rpc), two strings (1 byte of length each): ids of sender, receiver
//	         welcome, ping: nothing              refused: text
//	         message:  kind, payload             request: id (8 bytes), kind, payload
//	         response: id, payload               failure: id, text             cancel: id
//
// The length is checked before anything is allocated, and the buffer grows only as bytes arrive. A frame that is not
// allowed on that connection, in that direction, ends the connection.
//
// A short frame that nothing stands in front of is written by whoever sends it, as far as the socket takes it without
// waiting; the connection's writer does the rest, and everything else.
//
// # Bounds
//
// Waiting per connection: QueueBytes and QueueFrames, the batch in the writer's hands included. One frame in the
// reader's hands. Per peer: one HandleMessage, MaxRequests HandleRequest, and as many answers waiting for room. A handler
// that blocks stops the reading of its own connection, so the sender's queue fills and its Send returns ErrQueueFull;
// pings go on, so a slow peer is not taken for a dead one. Incoming connections: MaxConns, of which MaxHandshakes have
// not proved a key yet, each for at most HandshakeTimeout; when strangers fill those places the oldest of them goes, so
// that peers still get in.
//
// # Other protocols
//
// The listener separates protocols by ALPN. Config.ALPN registers more of them; Link.Dial is their client side. They
// get connections of configured peers only.
//
// # Faults and limits
//
// Peers may crash, hang, restart, read slowly and vanish without a word; strangers may connect, flood and send anything.
// Peers are not expected to be malicious: one of them can make a node hold MaxRequests times the longest frame. There
// is no durable state. Two processes with one key take turns replacing each other's connections; telling them apart is
// the business of the layer above (R3).
package peer
