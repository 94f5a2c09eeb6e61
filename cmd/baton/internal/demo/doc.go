// Package demo is what `baton demo` does: it lays out a cluster in a folder, runs each node as a process of its own,
// lets many accounts pay each other through all nodes at once, kills the leader with SIGKILL in mid-stream, again and
// again, and at the end judges from the outside, over HTTP and from the clients' receipts, whether anything was lost.
//
// # What is measured
//
// A failover's gap is the time from the kill to the first acknowledgement of a transaction that was sent after the kill.
// Beside it stands the largest pause between any two acknowledgements in a row, over all clients, which also counts what
// was under way when the leader died.
//
// # What is proved
//
// When traffic has ended every node must be up and at the same height. Then all blocks of every node are fetched and
// checked with nothing but the genesis file and the clients' own records (audit.go): hashes are recomputed, signatures
// verified under the processor key, parents linked, blocks compared between nodes; every receipt must be found at
// exactly the place that it names, on every node; no transaction may stand twice; every transaction of the chain must be
// one that a client signed; balances must be what the clients' payments come to, and nonces must agree.
//
// # Processes
//
// A child is started by one operating-system thread that lives as long as the cluster, and has a process group of its
// own: Ctrl-C on the terminal reaches only the parent, and on Linux a child dies with its parent, however that ends. A
// child that ends without being told to ends the demo with the last lines of its log.
package demo
