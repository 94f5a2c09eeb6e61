// Package cluster is the cluster under test of a chaos run: real `baton` processes, one on each host, laid out by
// `baton init --hosts` and talked to only by what an operator has: its command line, its HTTP API, its files and signals.
//
// A node is started, killed, stopped and continued by [Node]; [Watcher] asks all of them for their status a few times a
// second and remembers who led and held a lease when. A process that ends without having been told to is reported
// ([Node.Exits]), whoever has to judge it.
package cluster
