// Package sync moves a chain's state and its final blocks from those who have them to one who does not: a newcomer, or a
// node that was away for long. Importers call it fastsync.
//
// # Promise
//
//   - Nothing is believed that the processor key of genesis did not sign, or that a signed block does not name by its hash:
//     a state is that of a signed block, each node of it is compared with the hash that its parent has before it is stored,
//     each block is signed and links to the one below. With a [Pin], a block is refused that is not shown, by linked
//     headers, to be on one chain with the pinned one, whoever signed it.
//   - A peer that is slow, dead, full of lies or without end costs time, no more: it is named in the log and left alone for a
//     while, others are asked for what it did not give. When nobody is left, the error names each with its last fault.
//   - Whatever of the state is here already is not moved: from a transfer that was interrupted, by a crash at any moment as
//     well, and from the newest checkpoint.
//   - Memory does not grow with the state, on either side.
//
// What is offered is committed, since only committed blocks are signed. A [blockstore.Jump] to it is for the owner of the
// chain to make (PROTOCOL.md R7, R11).
//
// # Messages
//
// HTTP requests without a body, and one with; over h2 on the peer port, where members have proved their keys, or on the
// read-only listener. Answers are octets; blocks and headers are compressed with zstd where the asker takes that, states are
// mostly hashes and keys and are not. All integers are big-endian.
//
//	GET /sync/v1/states[?at=HEIGHT]
//	    frames (u32 length || bytes): chain id, genesis hash, newest final block, states..., of each block
//	    header (package block) || signature || u64 term of the certificate
//	    The newest states; with a height the newest up to there and the first one above.
//
//	GET /sync/v1/state/{hash}?root=HASH&pos=NIBBLES&from=NIBBLES
//	    (u32 length || node (package merkle))..., in pre-order
//	    The subtree whose topmost node has this hash, from a position below it on, as much as fits a megabyte. Baton-Next
//	    names where to go on, if that was not all. Root and pos are where such a node stands, since nodes are not stored by
//	    hash; a server that does not have that state looks at the same position of others. The answer to a hash and a from
//	    is the same for ever, so it has an ETag and is immutable for caches.
//
//	POST /sync/v1/nodes?root=HASH, with positions, one a line, at most 2048
//	    The node at each position, in their order, as many as fit. For those who have most of the state.
//
//	GET /sync/v1/blocks?from=HEIGHT&to=HEIGHT
//	    (u32 length || encoded block || signature || u64 term of the certificate)..., ascending, as many as fit
//	GET /sync/v1/headers?from=HEIGHT&to=HEIGHT
//	    (u32 length || header)..., as many as fit; for pins
//
// A position is the nibbles that lead to a node, one hex digit each. 404 means not here, or not any more; 503 means later;
// 500 that the server's own copy is damaged, which it never sends.
//
// # A transfer
//
//	Newest ──> Offer ──> Transfer: stack of subtrees ──> workers, a few a peer ──> Part (package blockstore) ──> Jump
//	                        ^  split: its children                │
//	                        └─────────────────────────────────────┘
//
// A subtree on the stack is, in this order:
//
//	here already, by position and hash            it is linked
//	compared, where an older state has something  nodes are fetched one by one, a level at a time, and nothing below one
//	                                              that is here; more than a megabyte of them is split
//	opened, where an earlier run has stored parts its topmost node is fetched, and its children are pieces of their own
//	fetched whole, otherwise                      nodes come in pre-order, a megabyte a request
//
// How large a subtree is nobody knows before it was fetched. An answer that is cut off says where; from that the size is
// estimated, and a subtree of more than about two megabytes is split: what has come of it is kept, and the rest becomes
// pieces, several at a time. The stack is taken from its end, so that of the tree only a few nodes a level are waiting for
// their children, however large it is.
//
// A piece that fails goes back onto the stack, with what was stored of it. When nothing else is left to do, what one peer
// has had for longer than another one would need is fetched from that one as well; the first to have it counts.
//
// # Certificates
//
// The term of a commit certificate (R11) is signed by nobody. A member's word counts, since members are not Byzantine; of
// others it is left out, so that a jump from their state asserts nothing about terms.
//
// # Serving
//
// A server reads a store and holds no locks of it. It answers a bounded number of requests at a time, with a bounded number
// of bytes a second. While somebody fetches, stored states are held back from pruning: until a minute after the last
// request, and no longer than an hour. One who is slower than that goes on with a newer state.
//
// # Faults
//
//	not what its hash says, not decodable, too long, without end,  a lie: the peer is not asked for ten minutes, what came
//	another chain, a wrong signature                               before it is kept
//	refused or lost connection, 500, no answer for 15 seconds, an  left alone for a quarter of a second, doubled up to 15 s
//	answer that takes longer than a minute
//	404                                                            others are asked for that piece; when all lack it, the
//	                                                               state is gone ([ErrGone]): a newer one is fetched
//	two signed blocks of one height                                [ErrForked]: nothing is believed
//	nothing useful from anybody for Patience                       [ErrNoPeer]
//	an error of the own store                                      the transfer ends with it
//	crash                                                          complete parts are there, the others are cleared away
//
// # Limits
//
// A part is shared between two states only if it is the same in both: of a transfer that goes on with a newer state, a part
// of about a megabyte in which anything has changed is fetched again. Rotations of the processor key are not followed yet.
// An older state helps only where it is the store's newest checkpoint.
package sync
