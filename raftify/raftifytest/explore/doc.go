// Package explore tries everything that can happen to a few nodes of the election, within stated bounds, and checks the
// invariants after each step. It runs the real core: nothing is modelled but the world around it.
//
// # What is tried
//
// From the first state, every order of:
//
//   - the arrival, at any time and any number of times, of any message that was ever sent, or never: loss, delay,
//     repetition and reordering are not bounded;
//   - a node's timers running out, whatever it has heard, as often as there are terms (Config.MaxTerm);
//   - a write becoming durable, alone or with those after it; a crash that loses what is not, with a restart
//     (Config.Crashes), and a disk that is replaced by an empty one (Config.Wipes);
//   - changes of membership that a leader is told to make (Config.Changes), and handovers (Config.Transfers);
//   - with Config.Timed, a quantum of true time passing for all, between any two of which a node looks at its clocks or
//     does not: it may stand still for as long as the run is.
//
// # What is checked
//
//	I1   no two nodes, and no node twice, win one term
//	I2   per incarnation: no message of a lower term than before, one vote a term, and a restart knows what was said
//	I4   the report in a vote is read when the promise of that very vote is on the disk
//	I5   a winner rests on such reports of a majority of the voters of its own configuration
//	I11  a configuration's number determines its members, at most one voter apart from the one before; an incarnation never
//	     acknowledges a lower one than before
//	R14  a leader replaces a configuration only when a majority of its voters has acknowledged it in that term
//	R9   leadership is not taken up again in a term
//	I15  no two leases are valid at one instant (with Config.Timed)
//
// and whatever the core itself checks: its panics and alarms are violations. All of it but I15 speaks of what nodes have
// ever shown of themselves, which only grows.
//
// # How it can be exhaustive
//
// The core is deterministic and its future depends on its Fingerprint alone. So the states of single nodes are interned,
// a transition of one is computed once and remembered, and a state of the cluster is a few numbers. A node's state holds
// all that it has sent; what is under way is the union of that, so no message needs a place of its own.
//
// # What is left out, and why nothing is missed
//
// Each of these makes states fewer; the first four also try more than can happen, so a violation that exists is found
// (and one that is found could, in principle, be of these; none was yet).
//
//   - Time is free without Config.Timed. A node that does not lead has lost faith and its timers have run out whenever
//     something happens to it; the safety that is checked there rests on no clock. Back-off therefore never holds a node
//     up. A leader's clock stands still until it gives up or a vote for a higher term finds it without a quorum.
//   - Pre-votes are granted by whoever is asked, unless Config.PreVotes: they raise nothing, and all that a refusal does
//     is to keep a node from standing.
//   - A node sends everybody its term, alone and with its configuration, as soon as they are durable. That stands for all
//     the messages that say no more than that: Term, a refused vote or pre-vote. A heartbeat's answer is sent on only if a
//     change of membership can wait for it, and answers the newest heartbeat; that a leader has a quorum at all is granted.
//   - A restart does not raise the number of starts: what an earlier start sent is not ignored.
//   - A node that will not crash any more has its writes durable at once. What it could not say meanwhile is as if it was
//     said and not heard, and what it said of the state before it was durable has been said before.
//   - States that differ by a renaming of nodes are explored once. The rules treat all ids alike, but for pre-votes and the
//     bootstrap, where smaller ids go first: with these, and where the bounds name a node, it is off. That it changes
//     nothing else is tested: a run without it reaches exactly as many states as those of a run with it stand for.
//
// # Limits
//
// A violation needs no more than the bounds to show, or is not found: few nodes, two or three terms. Result.Complete
// tells whether everything within the bounds was reached; a run that was cut shows only what it reached, and its report
// says so. Timed runs move all clocks in quanta and at fixed rates, lose every refusal and bare Term, and do not go on where
// no two leases can meet any more. Configs are small and complete; those of Deep are not known to be, and a replaced disk
// is among them. The automatic part of membership (joins, promotion,
// R16, R17) and death notices are not explored; random runs of raftifytest have them. Liveness is not explored at all.
package explore
