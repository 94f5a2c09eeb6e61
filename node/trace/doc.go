// Package trace is the record of what a node said, wrote, decided, signed and believed, as JSON lines: what
// `baton run --trace FILE` writes and what the checker of node/nodetest, the one of the simulator, reads.
//
// # Promise
//
// A line is in the file before what it tells of can have an effect outside the process: before the message leaves, before
// the signature is shown. So a process that is killed has told of all that others may have seen; what it told of and did
// not do any more does no harm, since each line says only what the node's durable state, or its core, already stood for.
// Lines carry the machine's monotonic clock: merged by it, the traces of several processes of one machine are in an order
// that respects cause and effect.
//
// # Lines
//
// A line is an [Event]; "k" is its kind, "at" nanoseconds of CLOCK_MONOTONIC. Fields that a kind does not have are
// absent. Hashes are hex.
//
//	start     the process begins with this durable state: node, inc, boot, term, vote, cfg, synced, ref (tip), commit
//	hard      a hard state was handed to the disk: term, vote, cfg
//	send      an election message leaves: type (Vote, VoteResp ...), term, to, ok, report
//	elected   a majority of votes was counted: term, reports
//	block     a block was built here: body (base64 of its encoding), ref
//	write     a change of the chain was handed to the disk: seq, lead, cut, jump, append (refs), synced, commit, cterm,
//	          from
//	durable   all writes up to seq survived an fsync
//	prop      a proposal leaves: term, ref          ack   an acknowledgement leaves: term, ref
//	takeover  this node's takeover of term is done at ref
//	committed this node takes ref for committed by the leader of term
//	commit    the node's newest commit is ref
//	signed    the node signed ref
//	lease     the node holds the lease of term for left nanoseconds more; 0: no longer
//	alarm     a core says that something is wrong: text
//
// Heartbeats and pre-votes are not in it: nothing is judged by them, and they are most of the traffic.
//
// # Cost
//
// Without a trace nothing is done at all. With one, a step of the owner loop that changed something costs one write(2) of
// a few hundred bytes per event; nothing is fsynced.
package trace
