package core_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest/transcript"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts runs the commands of each testdata/*.txt and compares all that the cores put out. A line at the
// margin is a command, an indented one is output, # is a comment.
//
//	cluster 3            a new world: three voters, started; node n draws n*30ms wherever it draws up to MinElection (see rand)
//	bootstrap 3 of 4     four nodes without a configuration, three of which are to make one
//	members 3 of 4 1s    four nodes, three of which are voters; the membership changes by itself, and who is silent for 1s may go
//	member promote 4     has the leader change the membership: promote, demote, remove, leave, invite
//	wipe 3, move 3 addr  takes effect with the next restart: an empty folder, another address
//	backup 3, restore 3  the folder as it is now; from the next restart on it is that of the backup again
//	rand 2 100ms         what node 2 draws from now on
//	tick 40ms [1 2]      time passes, in steps of 10ms, and nodes tick; nothing is delivered
//	deliver [Vote 1->2]  everything on its way arrives, and what follows from it; or only messages of such types or
//	                     links, and nothing after
//	run 400ms            tick and deliver by turns; heartbeats and their answers are not shown
//	silent 300ms         run without any output but the status that comes of it
//	drop 2->3 [Vote]     loses messages on their way
//	cut 1 | 1-3 | 1->3   a node, a link, one direction; heal mends everything
//	hold TimeoutNow      keeps messages of a type on their way, until letgo
//	crash 2, restart 2   writes that are not synced are lost
//	nosync 2             writes are not synced from now on; fsync 2 syncs what there is; autosync 2 goes back
//	pause 1, resume 1    a paused node does nothing
//	transfer 1 [2], suspect 3 1, round 1
//	death 3 1 [boot=1 session=9 inc=7]    3 is told that a start of 1, the present or last one if not said, has ended
//	clock 1 boot+1s real-1h  steps clocks of a node; stop 1 mono stops one, start 1 mono starts it
//	send 2->1 HBAck boot=1 session=9 term=3    a message of one's own making
//	status [1], lease 1, backoff 1
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

// world is the interpreter's cluster.
type world struct {
	t     *testing.T
	out   bytes.Buffer
	now   time.Duration
	nodes []*tnode
	net   []core.Message
	held  map[string]bool
	cuts  map[string]bool
	quiet bool
}

type twrite struct {
	seq uint64
	hs  core.HardState
}

type tnode struct {
	id      core.NodeID
	c       *core.Core
	hs      core.HardState // on disk
	backup  core.HardState
	writes  []twrite
	nosync  bool
	paused  bool
	rnd     time.Duration
	offset  core.Instant // added to the true time
	stopped map[string]time.Duration
	boot    int // of the session
	opt     core.Options
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.out, "  "+format+"\n", args...) }

func (w *world) fatal(args []string, err any) {
	w.t.Helper()
	w.t.Fatalf("%s: %v", strings.Join(args, " "), err)
}

func (w *world) node(args []string, id string) *tnode {
	w.t.Helper()
	for _, n := range w.nodes {
		if string(n.id) == id {
			return n
		}
	}
	w.fatal(args, "no node "+id)
	return nil
}

func (w *world) dur(args []string, s string) time.Duration {
	w.t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		w.fatal(args, err)
	}
	return d
}

func (n *tnode) clock(now time.Duration) core.Instant {
	read := func(name string, off int64) int64 {
		if at, ok := n.stopped[name]; ok {
			return int64(at) + off
		}
		return int64(now) + off
	}
	return core.Instant{Mono: read("mono", n.offset.Mono), Boot: read("boot", n.offset.Boot), Real: read("real", n.offset.Real)}
}

func (w *world) command(args []string) {
	w.t.Helper()
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch args[0] {
	case "cluster":
		w.create(args, arg(1), 0)
	case "bootstrap":
		expect, err := strconv.Atoi(arg(1))
		if err != nil {
			w.fatal(args, err)
		}
		w.create(args, arg(3), expect)
	case "members":
		w.create(args, arg(3), 0)
		w.grow(args)
	case "member":
		w.member(args)
	case "wipe":
		n := w.node(args, arg(1))
		n.boot += 10
		n.hs = core.HardState{ID: n.id, Inc: core.Inc{byte(n.boot), n.hs.Inc[0]}, Vote: core.Vote{Kind: core.VoteNone}}
	case "backup":
		n := w.node(args, arg(1))
		n.backup = n.hs
	case "restore":
		n := w.node(args, arg(1))
		n.hs = n.backup
	case "move":
		w.node(args, arg(1)).opt.Addr = arg(2)
	case "rand":
		w.node(args, arg(1)).rnd = w.dur(args, arg(2))
	case "tick", "run":
		w.pass(args)
	case "silent":
		before := w.out.Len()
		w.pass([]string{"run", arg(1)})
		w.out.Truncate(before)
		w.ask([]string{"status"})
	case "deliver":
		w.deliver(args[1:])
	case "drop":
		w.net = slices.DeleteFunc(w.net, func(m core.Message) bool {
			hit := link(m) == arg(1) && (arg(2) == "" || m.Type.String() == arg(2))
			if hit {
				w.say("lost: %s", show(m))
			}
			return hit
		})
	case "cut", "heal", "hold", "letgo":
		w.links(args)
	case "crash", "restart", "nosync", "fsync", "autosync", "pause", "resume", "clock", "stop", "start":
		w.machine(args, w.node(args, arg(1)))
	case "transfer", "suspect", "round", "send", "death":
		w.act(args)
	case "status", "lease", "backoff":
		w.ask(args)
	default:
		w.fatal(args, "unknown command")
	}
}

func (w *world) create(args []string, count string, expect int) {
	w.t.Helper()
	n, err := strconv.Atoi(count)
	if err != nil {
		w.fatal(args, err)
	}
	w.now, w.nodes, w.net, w.held, w.cuts = 0, nil, nil, map[string]bool{}, map[string]bool{}
	var ms []core.Member
	var peers []core.Peer
	for i := range n {
		id := core.NodeID(strconv.Itoa(i + 1))
		addr := "node" + string(id)
		ms = append(ms, core.Member{ID: id, Inc: core.Inc{byte(i + 1)}, Addr: addr, Voter: true})
		peers = append(peers, core.Peer{ID: id, Addr: addr})
	}
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, ms)
	for i, m := range ms {
		tn := &tnode{id: m.ID, rnd: time.Duration(i+1) * 30 * time.Millisecond, stopped: map[string]time.Duration{}}
		tn.hs = core.HardState{ID: m.ID, Inc: m.Inc, Vote: core.Vote{Kind: core.VoteNone}}
		if expect == 0 {
			tn.hs.Cfg, tn.hs.ClusterID = cfg, cfg.Hash()
		}
		tn.opt = core.Options{
			Addr: m.Addr, Peers: peers, Expect: expect, Timing: core.DefaultTiming(1),
			Rand: func(int64) int64 { return int64(tn.rnd) },
		}
		w.nodes = append(w.nodes, tn)
		w.boot(tn)
	}
}

// grow makes a cluster one whose membership changes by itself, and those beyond the first voters strangers to it.
func (w *world) grow(args []string) {
	w.t.Helper()
	voters, err := strconv.Atoi(args[1])
	if err != nil {
		w.fatal(args, err)
	}
	k := &core.Membership{MaxVoters: len(w.nodes)}
	if len(args) > 4 {
		k.KickAfter = w.dur(args, args[4])
	}
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, w.nodes[0].hs.Cfg.Members[:voters])
	w.out.Reset()
	for i, n := range w.nodes {
		n.opt.Membership, n.boot = k, 0
		n.hs = core.HardState{ID: n.id, Inc: n.hs.Inc, Vote: core.Vote{Kind: core.VoteNone}}
		if i < voters {
			n.hs.Cfg, n.hs.ClusterID = cfg, cfg.Hash()
		}
		w.boot(n)
	}
}

// member has the leader change the membership.
func (w *world) member(args []string) {
	w.t.Helper()
	for _, n := range w.nodes {
		if n.c == nil || n.c.Status().Role != core.RoleLeader {
			continue
		}
		for kind := core.ChangeAdd; kind <= core.ChangeMove; kind++ {
			if kind.String() == args[1] {
				if err := n.c.Reconfigure(n.clock(w.now), core.Change{Kind: kind, Member: core.Member{ID: core.NodeID(args[2])}}); err != nil {
					w.say("%s: %v", n.id, err)
				}
			}
		}
		w.drain(n)
	}
}

func (w *world) boot(n *tnode) {
	w.t.Helper()
	n.boot++
	n.hs.Boot++
	n.opt.State, n.opt.Session, n.opt.Now = n.hs, uint64(1000*n.boot), n.clock(w.now)
	c, err := core.New(n.opt)
	if errors.Is(err, core.ErrStaleFolder) {
		w.say("%s: %v", n.id, err)
		n.c = nil
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	n.c, n.writes, n.paused = c, nil, false
	w.say("%s starts: boot %d term %d vote %v cfg %s", n.id, n.hs.Boot, n.hs.Term, n.hs.Vote, key(n.hs.Cfg.Key))
}

func key(k core.CfgKey) string { return fmt.Sprintf("%d.%d", k.CTerm, k.Ver) }

func link(m core.Message) string { return string(m.From) + "->" + string(m.To) }

// noise are the messages that run does not show.
func noise(m core.Message) bool {
	return m.Type == core.MsgHB || m.Type == core.MsgHBAck || m.Type == core.MsgPing || m.Type == core.MsgPong
}

func show(m core.Message) string {
	s := fmt.Sprintf("%s %v term %d", link(m), m.Type, m.Term)
	switch m.Type {
	case core.MsgPreVote:
		s += fmt.Sprintf(" next %d", m.NextTerm)
		if m.Dead != nil {
			s += fmt.Sprintf(" (%v has ended)", *m.Dead)
		}
	case core.MsgPreVoteResp:
		s += fmt.Sprintf(" next %d ok %v", m.NextTerm, m.OK)
	case core.MsgVote:
		if m.TransferOf > 0 {
			s += fmt.Sprintf(" transfer of %d", m.TransferOf)
		}
	case core.MsgVoteResp:
		s += fmt.Sprintf(" ok %v", m.OK)
	case core.MsgHB:
		s += fmt.Sprintf(" seq %d", m.Seq)
	case core.MsgHBAck:
		s += fmt.Sprintf(" seq %d cfg %s", m.Seq, key(m.CfgKey))
	case core.MsgBootPropose, core.MsgTerm:
	case core.MsgBootPromise:
		s += fmt.Sprintf(" %v", m.Promise)
	default:
	}
	if m.Cfg != nil {
		s += " cfg " + key(m.Cfg.Key)
		if m.Type == core.MsgBootPropose {
			s += fmt.Sprintf(" %v", m.Cfg.Hash())
		}
	}
	return s
}

// drain prints and carries out what a node wants.
func (w *world) drain(n *tnode) {
	for n.c != nil && n.c.HasReady() {
		r := n.c.Ready()
		for _, e := range r.Events {
			w.say("%s", strings.Join(strings.Fields(event(n, e)), " "))
		}
		if r.HardState != nil {
			hs := *r.HardState
			promise := ""
			if hs.Promise != (core.ClusterID{}) && hs.Cfg.Key.Ver == 0 {
				promise = fmt.Sprintf(" promise %v", hs.Promise)
			}
			w.say("%s writes %d: term %d vote %v cfg %s%s", n.id, r.Seq, hs.Term, hs.Vote, key(hs.Cfg.Key), promise)
			n.writes = append(n.writes, twrite{r.Seq, hs})
		}
		for _, m := range r.Messages {
			if !w.quiet || !noise(m) {
				w.say("%s", show(m))
			}
			if !w.cuts[link(m)] {
				w.net = append(w.net, m)
			} else if !w.quiet || !noise(m) {
				w.say("lost: %s %v", link(m), m.Type)
			}
		}
		if !n.nosync {
			w.sync(n)
		}
	}
}

func event(n *tnode, e core.Event) string {
	switch e.Kind {
	case core.EventTerm:
		return fmt.Sprintf("%s term %d (%s)", n.id, e.Term, e.Detail)
	case core.EventRole:
		return fmt.Sprintf("%s is %v of term %d %s", n.id, e.Role, e.Term, paren(e.Detail))
	case core.EventLeader:
		if e.Peer == "" {
			return fmt.Sprintf("%s has no leader", n.id)
		}
		return fmt.Sprintf("%s follows %s", n.id, e.Peer)
	case core.EventRound:
		return fmt.Sprintf("%s round %d is answered", n.id, e.Seq)
	case core.EventReconfigured:
		return fmt.Sprintf("%s installs %s: %s %s", n.id, key(e.Cfg), e.Detail, e.Peer)
	case core.EventConfig, core.EventBootstrapped, core.EventJoined:
		return fmt.Sprintf("%s %v %s", n.id, e.Kind, key(e.Cfg))
	default:
		return fmt.Sprintf("%s %v term %d %s %s", n.id, e.Kind, e.Term, e.Peer, paren(e.Detail))
	}
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func (w *world) sync(n *tnode) {
	if len(n.writes) == 0 {
		return
	}
	last := n.writes[len(n.writes)-1]
	n.hs, n.writes = last.hs, nil
	n.c.Durable(n.clock(w.now), last.seq)
	w.drain(n)
}

func (w *world) pass(args []string) {
	w.t.Helper()
	d := w.dur(args, args[1])
	w.quiet = args[0] == "run"
	defer func() { w.quiet = false }()
	for end := w.now + d; w.now < end; {
		w.now += min(10*time.Millisecond, end-w.now)
		for _, n := range w.nodes {
			if n.c != nil && !n.paused && (len(args) == 2 || slices.Contains(args[2:], string(n.id))) {
				n.c.Tick(n.clock(w.now))
				w.drain(n)
			}
		}
		if args[0] == "run" {
			w.deliver(nil)
		}
	}
	if w.quiet {
		w.say("(now %v)", w.now)
	}
}

// deliver delivers what is on its way and, without types, what follows from it.
func (w *world) deliver(types []string) {
	var kept []core.Message
	for len(w.net) > 0 {
		left := w.net
		w.net = nil
		for _, m := range left {
			to := w.node(nil, string(m.To))
			switch {
			case w.held[m.Type.String()], to.paused, len(types) > 0 && !slices.Contains(types, m.Type.String()) && !slices.Contains(types, link(m)):
				kept = append(kept, m)
			case to.c == nil || w.cuts[link(m)]:
			default:
				loud := !w.quiet || !noise(m)
				if loud {
					w.say("> %s", show(m))
				}
				if err := to.c.Step(to.clock(w.now), m); err != nil && loud {
					w.say("%s: %v", to.id, err)
				}
				w.drain(to)
			}
		}
		if len(types) > 0 {
			break
		}
	}
	w.net = append(kept, w.net...)
}

func (w *world) links(args []string) {
	w.t.Helper()
	switch args[0] {
	case "heal":
		w.cuts = map[string]bool{}
	case "hold":
		w.held[args[1]] = true
	case "letgo":
		w.held = map[string]bool{}
	case "cut":
		what := args[1]
		if strings.Contains(what, "->") {
			w.cuts[what] = true
			return
		}
		if a, b, ok := strings.Cut(what, "-"); ok {
			w.cuts[a+"->"+b], w.cuts[b+"->"+a] = true, true
			return
		}
		for _, n := range w.nodes {
			w.cuts[what+"->"+string(n.id)], w.cuts[string(n.id)+"->"+what] = true, true
		}
	}
}

func (w *world) machine(args []string, n *tnode) {
	w.t.Helper()
	switch args[0] {
	case "crash":
		w.say("%s is down, %d writes are lost", n.id, len(n.writes))
		n.c, n.writes = nil, nil
	case "restart":
		n.c = nil
		w.boot(n)
	case "nosync":
		n.nosync = true
	case "fsync":
		w.sync(n)
	case "autosync":
		n.nosync = false
		w.sync(n)
	case "pause":
		n.paused = true
	case "resume":
		n.paused = false
	case "stop":
		n.stopped[args[2]] = w.now
	case "start":
		lost := int64(n.stopped[args[2]] - w.now)
		delete(n.stopped, args[2])
		w.stepClock(args, n, args[2], lost)
	case "clock":
		for _, a := range args[2:] {
			i := strings.IndexAny(a, "+-")
			if i < 0 {
				w.fatal(args, "want mono+1s")
			}
			w.stepClock(args, n, a[:i], int64(w.dur(args, a[i:])))
		}
	}
}

func (w *world) stepClock(args []string, n *tnode, name string, by int64) {
	w.t.Helper()
	switch name {
	case "mono":
		n.offset.Mono += by
	case "boot":
		n.offset.Boot += by
	case "real":
		n.offset.Real += by
	default:
		w.fatal(args, "no clock "+name)
	}
}

func (w *world) act(args []string) {
	w.t.Helper()
	if args[0] == "send" {
		w.forge(args)
		return
	}
	n := w.node(args, args[1])
	now := n.clock(w.now)
	switch args[0] {
	case "transfer":
		to := core.NodeID("")
		if len(args) > 2 {
			to = core.NodeID(args[2])
		}
		if err := n.c.Transfer(now, to); err != nil {
			w.say("%s: %v", n.id, err)
		}
	case "suspect":
		n.c.Suspect(now, core.NodeID(args[2]))
	case "death":
		w.death(args, n)
	case "round":
		if seq, err := n.c.RequestRound(now); err != nil {
			w.say("%s: %v", n.id, err)
		} else {
			w.say("%s asks round %d", n.id, seq)
		}
	}
	w.drain(n)
}

// death delivers a death notice.
func (w *world) death(args []string, dst *tnode) {
	w.t.Helper()
	src := w.node(args, args[2])
	d := core.Death{ID: src.id, Inc: src.hs.Inc, Boot: src.hs.Boot, Session: src.opt.Session}
	for _, a := range args[3:] {
		name, val, _ := strings.Cut(a, "=")
		v, err := strconv.ParseUint(val, 10, 64)
		if err != nil {
			w.fatal(args, err)
		}
		switch name {
		case "boot":
			d.Boot = v
		case "session":
			d.Session = v
		case "inc":
			d.Inc[0] = byte(v)
		default:
			w.fatal(args, "no field "+name)
		}
	}
	m := core.Message{Type: core.MsgDeath, Header: core.Header{From: d.ID, To: dst.id}, Dead: &d}
	if dst.id == d.ID {
		m.From = "supervisor"
	}
	if err := dst.c.Step(dst.clock(w.now), m); err != nil {
		w.say("%s: %v", dst.id, err)
	}
}

// forge delivers a message of the script's own making.
func (w *world) forge(args []string) {
	w.t.Helper()
	from, to, _ := strings.Cut(args[1], "->")
	src, dst := w.node(args, from), w.node(args, to)
	m := core.Message{Header: core.Header{
		ClusterID: src.hs.ClusterID, From: src.id, To: dst.id, Inc: src.hs.Inc, Boot: src.hs.Boot, Session: src.opt.Session, Term: src.hs.Term,
	}}
	for typ := core.MsgPreVote; typ <= core.MsgBootPromise; typ++ {
		if typ.String() == args[2] {
			m.Type = typ
		}
	}
	for _, a := range args[3:] {
		name, val, _ := strings.Cut(a, "=")
		v, err := strconv.ParseUint(val, 10, 64)
		if err != nil {
			w.fatal(args, err)
		}
		switch name {
		case "boot":
			m.Boot = v
		case "session":
			m.Session = v
		case "term":
			m.Term = core.Term(v)
		case "next":
			m.NextTerm = core.Term(v)
		case "transfer":
			m.TransferOf = core.Term(v)
		case "cluster":
			m.ClusterID[0] = byte(v)
		case "inc":
			m.Inc[0] = byte(v)
		case "cterm":
			m.Cfg = &core.Config{Key: core.CfgKey{CTerm: core.Term(v), Ver: 1}, Members: src.hs.Cfg.Members}
		default:
			w.fatal(args, "no field "+name)
		}
	}
	if m.Type == core.MsgVote && m.Cfg == nil {
		m.Cfg = &src.hs.Cfg
	}
	if err := dst.c.Step(dst.clock(w.now), m); err != nil {
		if !errors.Is(err, core.ErrDropped) {
			w.fatal(args, err)
		}
		w.say("%s: %v", dst.id, err)
	}
	w.drain(dst)
}

func (w *world) ask(args []string) {
	w.t.Helper()
	for _, n := range w.nodes {
		if len(args) > 1 && string(n.id) != args[1] {
			continue
		}
		switch {
		case n.c == nil:
			w.say("%s is down", n.id)
		case args[0] == "lease":
			l := n.c.Status().Lease
			w.say("%s lease of term %d: %v left", n.id, l.Term, l.Left(n.clock(w.now)))
		case args[0] == "backoff":
			w.say("%s has failed %d times", n.id, n.c.Backoff())
		default:
			s := n.c.Status()
			leader := s.Leader
			if leader == "" {
				leader = "-"
			}
			extra := ""
			if s.Taking {
				extra = " taking over"
			}
			if s.Transferring {
				extra += " handing over"
			}
			if n.opt.Membership != nil {
				extra += fmt.Sprintf(" voters %v", s.Cfg.Voters())
			}
			w.say("%s %v term %d vote %v leader %s cfg %s%s", n.id, s.Role, s.Term, s.Vote, leader, key(s.Cfg.Key), extra)
		}
	}
}
