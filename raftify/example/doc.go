// Command example is a job that must run on one machine at a time: start it on three, and exactly one of them runs the
// job; kill that one, and another takes over.
//
//	example -config raftify.json -data DIR -out FILE [-steps N]
//
// The job appends a line to FILE every few milliseconds, and FILE stands for the one thing in the world that two runners
// would spoil. Each process has a file of its own here, so that a test can put them side by side:
//
//	{"id":"a","term":7,"step":12,"at":1699...,"until":1699...}
//
// says that a did step 12 of its job in term 7 at some instant, and that its lease went on until another (both in
// nanoseconds of the wall clock, on machines whose clocks agree). No two lines of different processes may claim the same
// instant: that is what main_test.go judges, over a leader that is killed and one that is stopped and goes on.
//
// The three parts of a program like this one are in main.go:
//
//   - raftify.Open blocks until the cluster has a leader;
//   - Node.Leadership blocks until this process leads, and returns a context for the job;
//   - before each effect the job asks the context's Err, which reads the clock, and sends the term along as a fencing
//     token: a receiver that remembers the greatest term it has seen turns away whoever was replaced meanwhile, even if
//     it was stopped between the question and the effect.
package main
