package replication_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// world is the interpreter's cluster: real election and chain cores, disks and executors that do what the script says.
type world struct {
	t      *testing.T
	out    bytes.Buffer
	now    time.Duration
	nodes  []*tnode
	net    []replication.Message // of the chain layer, on their way
	elect  []core.Message        // of the election layer: delivered at once, in silence
	cuts   map[string]bool
	blocks map[block.Hash]*block.Block
}

// record is one entry of a node's one queue of writes.
type record struct {
	hs  *core.HardState
	seq uint64
	w   *replication.Write
}

type stored struct {
	blk   *block.Block
	cterm core.Term
}

// tnode is a node: what survives a crash, then what does not.
type tnode struct {
	w      *world
	id     core.NodeID
	hs     core.HardState
	chain  []stored // by height; without a block where it was pruned
	synced core.Term
	nacked core.Term
	commit replication.CommitRecord
	boots  uint64
	claim  *replication.Report // what the disk held before some of it rotted
	spare  []*block.Block

	el      *core.Core
	ch      *replication.Chain
	queue   []record
	execs   []*block.Block
	fetches []replication.Fetch
	known   map[block.Hash]bool // has a state
	hold    map[string]bool     // fsync, exec, fetch: wait for the script
	flawed  bool                // computes other state roots than a sound executor
	window  int
	keep    int
}

// HashAt implements replication.Reader.
func (n *tnode) HashAt(h block.Height) (block.Hash, bool) {
	if int(h) >= len(n.chain) || n.chain[h].blk == nil {
		return block.Hash{}, false
	}
	return n.chain[h].blk.Hash(), true
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(&w.out, "  "+format+"\n", args...)
}

// instant of the one clock that all nodes share.
func (w *world) instant() core.Instant {
	return core.Instant{Mono: int64(w.now), Boot: int64(w.now), Real: int64(w.now)}
}

// name is how a block is called: height@term of its header, with an ! when its state root is not what a sound executor
// computes.
func (w *world) name(h block.Hash) string {
	b := w.blocks[h]
	switch {
	case h.IsZero():
		return "-"
	case b == nil:
		return fmt.Sprintf("%x", h[:4])
	case b.Header.Height == 0:
		return "0"
	}
	return fmt.Sprintf("%d@%d%s", b.Header.Height, b.Header.Term, strings.Repeat("!", int(b.Header.StateRoot[0])))
}

func (w *world) names(bs []*block.Block) string {
	var out []string
	for _, b := range bs {
		out = append(out, w.name(b.Hash()))
	}
	return strings.Join(out, " ")
}

// words replaces hashes in a text by names.
func (w *world) words(s string) string {
	for h, b := range w.blocks {
		s = strings.ReplaceAll(s, replication.Ref{Height: b.Header.Height, Hash: h}.String(), w.name(h))
	}
	return s
}

func (w *world) ref(name string) (replication.Ref, bool) {
	for h, b := range w.blocks {
		if w.name(h) == name {
			return replication.Ref{Height: b.Header.Height, Hash: h}, true
		}
	}
	return replication.Ref{}, false
}

func (w *world) create(count, window, keep int) {
	zero := block.New(block.Header{ChainID: "test"}, nil)
	*w = world{t: w.t, out: w.out, cuts: map[string]bool{}, blocks: map[block.Hash]*block.Block{zero.Hash(): zero}}
	var ms []core.Member
	for i := range count {
		id := core.NodeID(strconv.Itoa(i + 1))
		ms = append(ms, core.Member{ID: id, Inc: core.Inc{byte(i + 1)}, Addr: string(id), Voter: true})
	}
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, ms)
	for _, m := range ms {
		n := &tnode{w: w, id: m.ID, chain: []stored{{blk: zero}}, window: window, keep: keep, hold: map[string]bool{}}
		n.hs = core.HardState{ClusterID: cfg.Hash(), ID: m.ID, Inc: m.Inc, Vote: core.Vote{Kind: core.VoteNone}, Cfg: cfg}
		n.commit.Ref.Hash = zero.Hash()
		w.nodes = append(w.nodes, n)
		n.start()
	}
}

func (n *tnode) tip() replication.Ref {
	b := n.chain[len(n.chain)-1].blk
	return replication.Ref{Height: b.Header.Height, Hash: b.Hash()}
}

func (n *tnode) start() {
	w := n.w
	n.boots++
	n.hs.Boot = n.boots
	var err error
	n.ch, err = replication.New(replication.Options{
		ID: n.id, Inc: n.hs.Inc, Reader: n, Synced: n.synced, Tip: n.tip(), Commit: n.commit, Nacked: n.nacked,
		Claim: n.claim, Spare: n.spare,
		MinElection: core.DefaultTiming(1).MinElection, MaxInflight: n.window, KeepEntries: n.keep, Now: w.instant(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.el, err = core.New(core.Options{
		State: n.hs, Session: n.boots, Addr: string(n.id), Timing: core.DefaultTiming(1), Hook: n.ch, Now: w.instant(),
		Rand: func(int64) int64 { return int64(len(n.id)) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.queue, n.execs, n.fetches, n.known = nil, nil, nil, map[block.Hash]bool{}
	for _, s := range n.chain {
		if s.blk != nil {
			n.known[s.blk.Hash()] = true
		}
	}
	n.ch.Observe(w.instant(), n.el.Status())
}

// step lets a node do one thing and carries out what comes of it.
func (n *tnode) step(fn func(now core.Instant)) {
	if n.el == nil {
		return
	}
	fn(n.w.instant())
	n.drain()
	n.w.elections()
}

// elections delivers what the election layer says.
func (w *world) elections() {
	for len(w.elect) > 0 {
		m := w.elect[0]
		w.elect = w.elect[1:]
		to := w.node(string(m.To))
		if to == nil || to.el == nil || w.cuts[string(m.From)+"->"+string(m.To)] {
			continue
		}
		_ = to.el.Step(w.instant(), m) // an error says that it does not count
		to.drain()
	}
}

// drain prints and carries out what a node wants, in the order of the real driver.
func (n *tnode) drain() {
	w := n.w
	for n.el.HasReady() || n.ch.HasReady() {
		rd := n.el.Ready()
		if rd.HardState != nil {
			n.queue = append(n.queue, record{hs: rd.HardState, seq: rd.Seq})
		}
		for _, e := range rd.Events {
			switch e.Kind {
			case core.EventLeading:
				w.say("%s leads term %d", n.id, e.Term)
			case core.EventStepDown:
				w.say("%s steps down (%s)", n.id, w.words(e.Detail))
			default:
			}
		}
		cr := n.ch.Ready()
		for i := range cr.Writes {
			w.say("%s writes %s", n.id, w.describe(&cr.Writes[i]))
			n.queue = append(n.queue, record{seq: cr.Writes[i].Seq, w: &cr.Writes[i]})
		}
		w.elect = append(w.elect, rd.Messages...)
		for i := range cr.Messages {
			m := cr.Messages[i]
			if !n.ch.Address(n.el.Header(m.To), &m) {
				w.say("%s keeps back %v of term %d", n.id, m.Type, m.Term)
				continue
			}
			w.post(m)
		}
		for _, x := range cr.Execs {
			n.execs = append(n.execs, x.Block)
			if n.hold["exec"] {
				w.say("%s is to execute %s", n.id, w.name(x.Block.Hash()))
			}
		}
		for _, f := range cr.Fetches {
			w.say("%s asks %s for its chain from %d on, up to %s", n.id, f.Peer, f.From, w.name(f.To.Hash))
			n.fetches = append(n.fetches, f)
		}
		for _, e := range cr.Events {
			n.chainEvent(e)
		}
	}
	switch {
	case len(n.queue) > 0 && !n.hold["fsync"]:
		n.fsync()
	case len(n.execs) > 0 && !n.hold["exec"]:
		n.execute("")
	case len(n.fetches) > 0 && !n.hold["fetch"]:
		n.answer(false)
	}
}

func (n *tnode) chainEvent(e replication.Event) {
	w := n.w
	switch e.Kind {
	case replication.EventCommitted:
		w.say("%s: %s is committed by term %d", n.id, w.name(e.Ref.Hash), e.CTerm)
	case replication.EventRepaired:
		w.say("%s has all that it vouches for: %s, synced %d", n.id, w.name(e.Ref.Hash), e.CTerm)
	case replication.EventAlarm:
		w.say("%s ALARM %s", n.id, w.words(e.Detail))
	case replication.EventTip:
		w.say("%s may build on %s", n.id, w.name(e.Ref.Hash))
	case replication.EventLeftOut:
		w.say("%s does without %s, which does not come", n.id, w.name(e.Ref.Hash))
	case replication.EventPruned:
		w.say("%s lacks blocks that %s has no more: its chain begins at %d", n.id, e.Peer, e.Ref.Height)
	case replication.EventTakeover:
		w.say("%s has taken term %d over at %s", n.id, e.CTerm, w.name(e.Ref.Hash))
	case replication.EventAppended, replication.EventCut, replication.EventSynced, replication.EventNacked, replication.EventJumped: // the write says it
	}
}

func (w *world) post(m replication.Message) {
	lost := ""
	if w.cuts[link(m)] {
		lost = " (lost)"
	} else {
		w.net = append(w.net, m)
	}
	w.say("%s%s", w.show(m), lost)
}

func link(m replication.Message) string { return string(m.From) + "->" + string(m.To) }

func (w *world) show(m replication.Message) string {
	s := fmt.Sprintf("%s %v T%d %s", link(m), m.Type, m.Term, w.name(m.Ref.Hash))
	switch m.Type {
	case replication.MsgProp:
		if m.Commit != (replication.Ref{}) {
			s += " commit " + w.name(m.Commit.Hash)
		}
	case replication.MsgCommitted:
		s += fmt.Sprintf(" by term %d", m.CTerm)
	default:
	}
	if m.Resend {
		s += " resend"
	}
	return s
}

func (w *world) describe(r *replication.Write) string {
	var s []string
	if r.Cut != nil {
		s = append(s, fmt.Sprintf("cut above %d", *r.Cut))
	}
	if r.Jump != nil {
		s = append(s, "jump to "+w.name(r.Jump.Hash()))
	}
	if len(r.Append) > 0 {
		s = append(s, "append "+w.names(r.Append))
	}
	if r.Synced != nil {
		s = append(s, fmt.Sprintf("synced %d", *r.Synced))
	}
	if r.Nacked != nil {
		s = append(s, fmt.Sprintf("nacked %d", *r.Nacked))
	}
	if c := r.Commit; c != nil {
		s = append(s, fmt.Sprintf("commit %s, certificates of term %d from %d", w.name(c.Ref.Hash), c.CTerm, c.From))
	}
	if r.NoSync {
		s = append(s, "no fsync")
	}
	return strings.Join(s, ", ")
}

// apply makes one record durable.
func (n *tnode) apply(r record) {
	if r.hs != nil {
		n.hs = *r.hs
		return
	}
	if r.w.Cut != nil {
		n.chain = n.chain[:*r.w.Cut+1]
	}
	for _, b := range r.w.Append {
		if b.Header.Parent != n.tip().Hash {
			n.w.t.Errorf("node %s: %s is written on %s", n.id, n.w.name(b.Hash()), n.w.name(n.tip().Hash))
		}
		n.chain = append(n.chain, stored{blk: b})
	}
	if b := r.w.Jump; b != nil {
		n.chain = append(n.chain[:1:1], make([]stored, b.Header.Height)...)
		n.chain[b.Header.Height].blk = b
	}
	if r.w.Synced != nil {
		n.synced = *r.w.Synced
	}
	if r.w.Nacked != nil {
		n.nacked = *r.w.Nacked
	}
	if n.claim != nil && !(replication.Report{Synced: n.synced, Tip: n.tip()}).Less(*n.claim) {
		n.claim, n.spare = nil, nil
	}
	if c := r.w.Commit; c != nil {
		n.commit = *c
		for h := max(c.From, 1); h <= c.Ref.Height; h++ {
			n.chain[h].cterm = c.CTerm
		}
	}
}

// fsync makes all that is queued durable, then says so.
func (n *tnode) fsync() {
	batch := n.queue
	n.queue = nil
	for _, r := range batch {
		n.apply(r)
	}
	for _, r := range batch {
		now := n.w.instant()
		if r.hs != nil {
			n.el.Durable(now, r.seq)
		} else {
			n.ch.Durable(now, r.seq)
			n.el.Poke(now)
		}
		n.drain()
	}
}

// execute gives a verdict on the first block that waits for one: as the executor finds, or as the script wants.
func (n *tnode) execute(want string) {
	w := n.w
	b := n.execs[0]
	n.execs = n.execs[1:]
	ok := (b.Header.StateRoot[0] == 1) == n.flawed && want != "bad" || want == "ok"
	now := w.instant()
	switch {
	case !n.known[b.Header.Parent]:
		w.say("%s has no state to execute %s on", n.id, w.name(b.Hash()))
		n.ch.NotExecuted(now, b.Hash())
	default:
		if ok {
			n.known[b.Hash()] = true
		} else {
			w.say("%s cannot reproduce the state root of %s", n.id, w.name(b.Hash()))
		}
		n.ch.Executed(now, b.Hash(), ok)
	}
	n.el.Poke(now)
	n.drain()
}

var errUnreachable = errors.New("unreachable")

// answer ends the fetch under way with what the peer's disk holds, or with an error.
func (n *tnode) answer(fail bool) {
	w := n.w
	f := n.fetches[0]
	n.fetches = n.fetches[1:]
	peer := w.node(string(f.Peer))
	there, back := string(n.id)+"->"+string(f.Peer), string(f.Peer)+"->"+string(n.id)
	var out []replication.Certified
	var err error
	if fail || peer.el == nil || w.cuts[there] || w.cuts[back] {
		err = errUnreachable
		w.say("%s gets no answer from %s", n.id, f.Peer)
	} else if base := peer.base(); f.From < base {
		err = &replication.PrunedError{Base: base}
		w.say("%s hears that %s has no blocks below %d", n.id, f.Peer, base)
	} else {
		var text []string
		for h := max(f.From, 1); int(h) < len(peer.chain); h++ {
			s := peer.chain[h]
			out = append(out, replication.Certified{Block: s.blk, CTerm: s.cterm})
			text = append(text, fmt.Sprintf("%s(%d)", w.name(s.blk.Hash()), s.cterm))
			if s.blk.Hash() == f.To.Hash {
				break
			}
		}
		w.say("%s gets [%s] from %s", n.id, strings.Join(text, " "), f.Peer)
	}
	now := w.instant()
	n.ch.Fetched(now, f.ID, out, err)
	n.el.Poke(now)
	n.drain()
}

// base is the lowest height from which on the node has all blocks, as a store counts it.
func (n *tnode) base() block.Height {
	for h := len(n.chain) - 1; h > 0; h-- {
		if n.chain[h].blk == nil {
			return block.Height(h + 1)
		}
	}
	return 0
}

func (w *world) node(id string) *tnode {
	i := slices.IndexFunc(w.nodes, func(n *tnode) bool { return string(n.id) == id })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}
