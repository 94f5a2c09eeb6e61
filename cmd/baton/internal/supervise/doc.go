// Package supervise runs a node as two processes: a worker, which is the node, and a supervisor, which does nothing but
// look after it. Both are the same binary.
//
// # Promise
//
// When the worker dies, whatever killed it, the supervisor has told the other nodes within a millisecond or two: they
// need not wait for an election timeout (PROTOCOL.md, R23a). It says so only of a child that it started itself, saw exit,
// and had the notice of over a pipe from that very child; a supervisor that was replaced knows nothing of the children of
// the one before. It then starts the worker again, later and later, but within 5 seconds; or it ends, when the worker
// ended by itself with something to say (exit status 0 or 1), or never came to be a node.
//
// A worker does not outlive its supervisor: it gets SIGTERM from the kernel (Linux) and reads the end of a pipe, hands
// leadership over and exits.
//
// # Pipes
//
// The worker writes to descriptor 3 and reads from descriptor 4. Neither has a name, so nobody else can.
//
//	worker -> supervisor   one JSON object a line, at most 64 KiB:
//	  hello     once, when it is a node: its signed death notice, how to log
//	  targets   where to send the notice: the gossip addresses of all other nodes, again when they change
//	  ready, stopping, turned     for the service manager
//	supervisor -> worker   "stop\n"; the end of the file means that the supervisor is gone
//
// The notice is signed by the worker while it lives. The supervisor has no key and reads no configuration.
//
// # Signals
//
// SIGTERM or SIGINT makes the supervisor say stop; the worker takes them too, since a terminal sends them to both. A second
// one ends the supervisor at once, and the worker with it. SIGHUP makes it say reload; the worker takes that too.
//
// # systemd
//
// With Type=notify the supervisor is the main process and passes on what the worker says: READY=1 when it serves,
// STOPPING=1, and WATCHDOG=1 only while its owner loop turns. Without a supervisor a Parent says the same by itself.
package supervise
