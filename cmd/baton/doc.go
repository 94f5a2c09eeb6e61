// Command baton runs a node of a cluster, lays out a new cluster, and talks to one.
//
// `baton run` is two processes, a supervisor and the node itself: see internal/supervise.
//
// It is wiring only: flags, signals, exit statuses and how things are printed. What it does is in the packages that it
// calls: config reads and writes files, node runs a processor, node/client talks to a cluster's API, node/api to a
// node's admin socket.
//
// Every command exits with status 0 when it did what it was asked and with 1 otherwise, after exactly one line on
// stderr that names what is wrong and how to mend it; several problems stand on that line with semicolons between them.
// Data goes to stdout, with --json as one JSON value that scripts can rely on. Logs of `baton run` go to stderr.
package main
