// Command baton-chaos hurts a real baton cluster on this machine and judges whether it kept its promise. `make chaos`
// and `baton chaos` run it.
//
// It starts three and then five `baton` processes, each on a host of its own (a network namespace, see
// internal/sandbox), lets clients pay each other through all of them (internal/load), injects faults drawn by a seed that
// it prints (internal/nemesis), and at the end compares what clients were told with every block of every node
// (internal/judge). A report is left behind (internal/report): report.html for a person, report.json and junit.xml for a
// CI system.
//
//	hosts (sandbox) -- packets (fabric) -- hosts         baton-chaos
//	   |                                                   |- load      payments, reads, their history
//	   `- baton run (cluster) <--- HTTP -------------------|- nemesis   faults
//	                                                       |- judge     verdicts
//	                                                       `- report
//
// A run fails when an invariant is broken, when the cluster does not recover, when a process ends by itself without a
// reason, when no leader ever changed, and when a kind of fault of its plan was never injected. Times without service are
// measured and reported, never judged: how long they are is the machine's doing as well.
//
// It needs Linux and either root or a kernel that lets users make namespaces. It touches nothing of the machine: see
// internal/sandbox for why there is nothing to clean up, not even after SIGKILL.
//
// It is a module of its own, so that what only it needs is no dependency of the product.
package main
