// Package load is the load generator, a process of its own so that its CPU is not the nodes'. It is told over stdin to
// run one window after another, one JSON object a line, and answers each on stdout.
//
// A window is a number of clients in a closed loop, each with its own account and connection: the next transaction is
// sent when the last one is final. Transactions are signed before the window. The HTTP client is as small as can be: a
// request is one write of bytes made before, an answer is read up to its content length.
package load
