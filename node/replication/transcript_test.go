package replication_test

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest/transcript"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts runs the commands of each testdata/*.txt and compares all that the chains put out. A line at the
// margin is a command, an indented one is output, # is a comment. A block is called height@term of its header, with !
// when its state root is wrong. Messages of the election layer arrive at once and are not shown; those of the chain
// layer wait for deliver.
//
//	cluster 3 [window 2] [keep 4]   a new world; window: uncommitted blocks, keep: blocks kept in memory
//	elect 1               time passes for node 1 alone until it leads, or has waited 2s
//	propose 1 [3]         that many blocks
//	deliver [Prop 1->2]   all messages, and what follows from them; or only messages of such types or links, and
//	                      nothing after. drop loses messages instead
//	tick 40ms [1 2]       time passes and nodes tick; run delivers as well
//	cut 1 | 1-3 | 1->3    a node, a link, one direction; heal mends everything, and link 1-2 makes a link anew
//	hold 2 fsync          fsync, exec or fetch wait for the script from now on; letgo 2 fsync goes back
//	fsync 2               all that is queued; exec 2 [ok|bad] is one verdict; answer 2, fail 2 end a fetch
//	damage 2, repair 2    its executor computes other state roots
//	crash 2, restart 2    what was not synced is lost
//	transfer 1 2
//	prune 1 3             its blocks below that height go
//	jump 3 5@1 by 1       the state of that block was brought to node 3, with a certificate of term 1
//	await 3 on|off        such a state is on its way
//	send 3->2 Committed 1@1 by 1     a message of one's own making: also Ack, Nack and Prop, of the sender's term
//	state [1], chain [1]  chain: the durable one, with the term of each certificate
func TestTranscripts(t *testing.T) {
	transcript.Test(t, *update, func(t *testing.T) transcript.World {
		t.Helper()
		return &world{t: t}
	})
}

// Command implements transcript.World.
func (w *world) Command(args []string) string {
	w.t.Helper()
	w.out.Reset()
	w.command(args)
	return w.out.String()
}

func (w *world) fatal(args []string, why string) {
	w.t.Helper()
	w.t.Fatalf("%s: %s", strings.Join(args, " "), why)
}

// count returns the number after a word, or the default.
func (w *world) count(args []string, word string, or int) int {
	w.t.Helper()
	i := slices.Index(args, word)
	if i < 0 {
		return or
	}
	n, err := strconv.Atoi(args[i+1])
	if err != nil {
		w.fatal(args, err.Error())
	}
	return n
}

func (w *world) command(args []string) {
	w.t.Helper()
	switch args[0] {
	case "cluster":
		w.create(w.count(args, "cluster", 0), w.count(args, "window", 8), w.count(args, "keep", 0))
	case "deliver":
		w.deliver(args[1:])
	case "drop":
		w.net = slices.DeleteFunc(w.net, func(m replication.Message) bool { return wanted(m, args[1:]) })
	case "tick", "run":
		w.pass(args)
	case "cut", "heal", "link":
		w.links(args)
	case "send":
		w.forge(args)
	case "state", "chain":
		for _, n := range w.nodes {
			if len(args) == 1 || string(n.id) == args[1] {
				w.print(n, args[0])
			}
		}
	default:
		n := w.node(args[1])
		if n == nil {
			w.fatal(args, "no such node")
		}
		w.act(n, args)
	}
}

func (w *world) act(n *tnode, args []string) {
	w.t.Helper()
	arg := ""
	if len(args) > 2 {
		arg = args[2]
	}
	switch args[0] {
	case "elect":
		for range 200 {
			w.now += 10 * time.Millisecond
			n.step(func(now core.Instant) { n.el.Tick(now) })
			if n.el.Status().Role == core.RoleLeader {
				return
			}
		}
		w.say("%s is not elected", n.id)
	case "propose":
		count := 1
		if arg != "" {
			count = w.count(args, args[1], 1)
		}
		for range count {
			w.propose(n)
		}
	case "hold":
		n.hold[arg] = true
	case "letgo":
		delete(n.hold, arg)
		n.step(func(core.Instant) {})
	case "fsync":
		n.step(func(core.Instant) { n.fsync() })
	case "exec":
		if len(n.execs) == 0 {
			w.fatal(args, "nothing waits for a verdict")
		}
		n.step(func(core.Instant) { n.execute(arg) })
	case "answer", "fail":
		if len(n.fetches) == 0 {
			w.fatal(args, "nothing was asked")
		}
		n.step(func(core.Instant) { n.answer(args[0] == "fail") })
	case "damage", "repair":
		n.flawed = args[0] == "damage"
	case "crash":
		w.say("%s is down, %d writes are lost", n.id, len(n.queue))
		n.el, n.ch, n.queue = nil, nil, nil
	case "rot":
		h, err := strconv.Atoi(arg)
		if err != nil || n.el != nil || h <= int(n.commit.Ref.Height) || h >= len(n.chain) {
			w.fatal(args, "a node that is down, and a block above its commit")
		}
		n.rot(h)
	case "prune":
		for h := 1; h < w.count(args, args[1], 0); h++ {
			n.chain[h] = stored{}
		}
	case "await":
		n.step(func(now core.Instant) { n.ch.AwaitState(now, arg == "on") })
	case "jump":
		ref, ok := w.ref(arg)
		if !ok {
			w.fatal(args, "no such block")
		}
		n.step(func(now core.Instant) {
			if err := n.ch.Jump(now, w.blocks[ref.Hash], core.Term(w.count(args, "by", 0))); err != nil {
				w.say("%s does not jump: %s", n.id, w.words(err.Error()))
				return
			}
			n.known = map[block.Hash]bool{ref.Hash: true}
			n.execs = nil
			n.el.Poke(now)
		})
	case "restart":
		n.start()
		n.step(func(core.Instant) {})
	case "transfer":
		n.step(func(now core.Instant) {
			if err := n.el.Transfer(now, core.NodeID(arg)); err != nil {
				w.say("%v", err)
			}
		})
	default:
		w.fatal(args, "unknown command")
	}
}

// rot makes the block at h unreadable: the chain ends below it, the mark stands, what is above is not lost.
func (n *tnode) rot(h int) {
	n.claim = &replication.Report{Synced: n.synced, Tip: n.tip()}
	for _, s := range n.chain[h+1:] {
		n.spare = append(n.spare, s.blk)
	}
	n.chain = n.chain[:h:h]
}

func (w *world) propose(n *tnode) {
	tip := n.ch.Tip()
	h := block.Header{ChainID: "test", Height: tip.Height + 1, Parent: tip.Hash, Term: uint64(n.el.Status().Term), Proposer: string(n.id)}
	if n.flawed {
		h.StateRoot[0] = 1
	}
	b := block.New(h, nil)
	w.blocks[b.Hash()] = b
	n.known[b.Hash()] = true
	n.step(func(now core.Instant) {
		if err := n.ch.Propose(now, b); err != nil {
			w.say("%s: %v", n.id, err)
		}
		n.el.Poke(now)
	})
}

func wanted(m replication.Message, which []string) bool {
	return len(which) == 0 || slices.Contains(which, m.Type.String()) || slices.Contains(which, link(m))
}

func (w *world) deliver(which []string) {
	var kept []replication.Message
	for len(w.net) > 0 {
		left := w.net
		w.net = nil
		for _, m := range left {
			if !wanted(m, which) {
				kept = append(kept, m)
				continue
			}
			to := w.node(string(m.To))
			if to.el == nil || w.cuts[link(m)] {
				w.say("lost: %s", w.show(m))
				continue
			}
			w.say("> %s", w.show(m))
			to.step(func(now core.Instant) { replication.Deliver(now, to.el, to.ch, m) })
		}
		if len(which) > 0 {
			break
		}
	}
	w.net = append(kept, w.net...)
}

func (w *world) pass(args []string) {
	w.t.Helper()
	d, err := time.ParseDuration(args[1])
	if err != nil {
		w.fatal(args, err.Error())
	}
	for end := w.now + d; w.now < end; {
		w.now += min(10*time.Millisecond, end-w.now)
		for _, n := range w.nodes {
			if len(args) == 2 || slices.Contains(args[2:], string(n.id)) {
				n.step(func(now core.Instant) { n.el.Tick(now) })
			}
		}
		if args[0] == "run" {
			w.deliver(nil)
		}
	}
}

func (w *world) links(args []string) {
	w.t.Helper()
	if args[0] == "heal" {
		w.cuts = map[string]bool{}
		return
	}
	what := args[1]
	a, b, both := strings.Cut(what, "-")
	switch {
	case args[0] == "link":
		for _, p := range [][2]string{{a, b}, {b, a}} {
			n := w.node(p[0])
			n.step(func(now core.Instant) {
				n.ch.PeerUp(now, core.NodeID(p[1]))
				n.el.Poke(now)
			})
		}
	case strings.Contains(what, "->"):
		w.cuts[what] = true
	case both:
		w.cuts[a+"->"+b], w.cuts[b+"->"+a] = true, true
	default:
		for _, n := range w.nodes {
			w.cuts[what+"->"+string(n.id)], w.cuts[string(n.id)+"->"+what] = true, true
		}
	}
}

// forge puts a message of the script's own making on its way: send 3->2 Committed 1@1 by 1.
func (w *world) forge(args []string) {
	w.t.Helper()
	from, to, _ := strings.Cut(args[1], "->")
	n := w.node(from)
	ref, ok := w.ref(args[3])
	if !ok {
		w.fatal(args, "no such block")
	}
	m := replication.Message{Header: n.el.Header(core.NodeID(to)), Ref: ref}
	switch args[2] {
	case "Committed":
		m.Type, m.CTerm = replication.MsgCommitted, core.Term(w.count(args, "by", 0))
	case "Ack":
		m.Type = replication.MsgAck
	case "Nack":
		m.Type = replication.MsgNack
	case "Prop":
		m.Type, m.Block = replication.MsgProp, w.blocks[ref.Hash]
	default:
		w.fatal(args, "unknown message")
	}
	if slices.Contains(args, "stranger") {
		m.ClusterID[0] ^= 1
	}
	w.post(m)
}

func (w *world) print(n *tnode, what string) {
	if what == "chain" {
		var out []string
		for h, s := range n.chain[1:] {
			if s.blk == nil {
				continue
			}
			if h > 0 && len(out) == 0 {
				out = append(out, "...")
			}
			out = append(out, fmt.Sprintf("%s(%d)", w.name(s.blk.Hash()), s.cterm))
		}
		w.say("%s holds [%s] synced %d commit %s", n.id, strings.Join(out, " "), n.synced, w.name(n.commit.Ref.Hash))
		return
	}
	if n.el == nil {
		w.say("%s is down", n.id)
		return
	}
	s, d := n.el.Status(), n.ch.DurableReport()
	extra := ""
	if s.Taking {
		extra = ", taking over"
	}
	if r := n.ch.Claim(); r != nil {
		extra += fmt.Sprintf(", vouches for %s synced %d", w.name(r.Tip.Hash), r.Synced)
	}
	if take, ok := n.ch.Take(); ok {
		extra += ", takeover at " + w.name(take.Hash)
	}
	w.say("%s %v of term %d: tip %s, durable %s synced %d, commit %s%s", n.id, s.Role, s.Term, w.name(n.ch.Tip().Hash),
		w.name(d.Tip.Hash), d.Synced, w.name(n.ch.Commit().Hash), extra)
}
