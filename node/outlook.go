package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

// outlook is what this node knows of the others, for people: what they told of themselves when they were asked last. Nothing
// is decided by it, but whether to look for a state to take over.
type outlook struct {
	n     *Node
	woken chan struct{} // room for one

	watchers subscribers[*api.Cluster]

	mu     sync.Mutex
	heard  map[string]heard
	asking map[string]bool // asked, and neither answered nor given up
}

// heard is one node's answer.
type heard struct {
	report wire.NodeReport
	at     time.Time
	rtt    time.Duration
	own    block.Height // this node's own final height when the answer came
}

const (
	askEvery     = 500 * time.Millisecond
	watchedEvery = 100 * time.Millisecond // while somebody watches
	askTimeout   = time.Second
)

func newOutlook(n *Node) *outlook {
	return &outlook{n: n, woken: make(chan struct{}, 1), heard: map[string]heard{}, asking: map[string]bool{}}
}

// run asks the others now and then how they are, more often while somebody watches, and looks who lives.
func (o *outlook) run(ctx context.Context) {
	defer o.watchers.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var life map[string]bool
	for {
		select {
		case <-timer.C:
		case <-o.woken:
		case <-ctx.Done():
			return
		}
		life = o.n.watchLife(life)
		leader := o.n.view.Load().leader
		if !slices.Contains(o.askAll(ctx), leader) {
			o.publish() // otherwise when the leader answers: then its lease is news
		}
		if o.watchers.some() {
			timer.Reset(watchedEvery)
		} else {
			timer.Reset(askEvery)
		}
	}
}

// wake makes the watchers hear of a change at once.
func (o *outlook) wake() {
	select {
	case o.woken <- struct{}{}:
	default:
	}
}

// askAll asks every peer that can be reached and owes no answer, and returns whom it asked.
func (o *outlook) askAll(ctx context.Context) []string {
	var asked []string
	for _, id := range o.n.link.Connected() {
		o.mu.Lock()
		busy := o.asking[id]
		o.asking[id] = true
		o.mu.Unlock()
		if !busy {
			asked = append(asked, id)
			o.n.wg.Go(func() { o.ask(ctx, id) })
		}
	}
	return asked
}

func (o *outlook) ask(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start := time.Now()
	b, err := o.n.link.Request(ctx, id, reqReport, nil)
	var report wire.NodeReport
	if err == nil {
		if report, err = decodeReport(b); err != nil {
			o.n.metrics.malformed.Inc()
		}
	}
	now, own := time.Now(), o.n.finals.height()
	o.mu.Lock()
	delete(o.asking, id)
	if err == nil {
		o.heard[id] = heard{report, now, now.Sub(start), own}
	}
	o.mu.Unlock()
	if id == o.n.view.Load().leader {
		o.publish()
	}
}

// height is how far a peer was when it was heard last.
func (o *outlook) height(id string) block.Height {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard[id].report.Height
}

// watch tells of the cluster until ctx ends or the node stops. Only the newest waits for a slow reader.
func (o *outlook) watch(ctx context.Context) <-chan *api.Cluster {
	ch := o.watchers.subscribe(ctx, 1)
	o.wake()
	return ch
}

func (o *outlook) publish() {
	if !o.watchers.some() {
		return
	}
	c := o.cluster()
	o.watchers.each(func(ch chan *api.Cluster) {
		select {
		case <-ch: // an older one that nobody took
		default:
		}
		ch <- &c // has room: only this function sends, under the lock
	})
}

// report is what this node tells of itself.
func (o *outlook) report() wire.NodeReport {
	n := o.n
	s := n.Status()
	return wire.NodeReport{
		State: s.State, Term: s.Term, Leader: s.Leader, Height: s.Height, Tip: n.view.Load().tip.Height, LeaseMs: s.LeaseMs,
		Syncing: s.Syncing, Ready: n.Ready() == nil, Health: s.Health, UptimeMs: n.uptime().Milliseconds(), API: n.apiURL(),
	}
}

// cluster puts together what this node knows.
func (o *outlook) cluster() api.Cluster {
	n := o.n
	s := n.Status()
	now := time.Now()
	out := api.Cluster{
		Node: s.ID, Time: now.UnixMilli(), ChainID: s.ChainID, ChainVersion: s.ChainVersion, Term: s.Term, Leader: s.Leader,
		Height: s.Height, TipHash: s.TipHash, StateRoot: s.StateRoot, ConfigVersion: s.ConfigVersion, Quorum: s.Quorum,
		Invited: s.Invited, Removed: s.Removed, Members: make([]wire.ClusterMember, 0, len(s.Members)),
	}
	if t := n.cfg.Raftify.Timings(); !t.NoLease {
		out.LeaseFullMs = t.LeaseDuration().Milliseconds()
	}
	if out.Leader == s.ID && s.State != wire.StateLeader {
		out.Leader = "" // elected, and not yet taken over
	}
	own := o.report()
	o.mu.Lock()
	defer o.mu.Unlock()
	// Heights are compared as of one instant: that of each answer. Otherwise those who were asked a moment ago would seem to
	// be behind.
	ownLag := int64(0)
	if l, ok := o.heard[s.Leader]; ok && s.Leader != s.ID {
		ownLag = max(0, int64(l.report.Height)-int64(l.own)) //nolint:gosec // a height fits
	}
	for _, m := range s.Members {
		v := wire.ClusterMember{ID: m.ID, Voter: m.Voter, Alive: m.Alive, Held: m.Held, HeardMs: -1}
		h, ok := o.heard[m.ID]
		switch {
		case m.ID == s.ID:
			v.HeardMs, v.NodeReport, v.Lag = 0, own, block.Height(ownLag) //nolint:gosec // not negative
		case ok:
			v.HeardMs, v.RTTMicros, v.NodeReport = now.Sub(h.at).Milliseconds(), h.rtt.Microseconds(), h.report
			v.Lag = block.Height(max(0, ownLag+int64(h.own)-int64(h.report.Height))) //nolint:gosec // a height fits
		}
		out.Members = append(out.Members, v)
	}
	slices.SortFunc(out.Members, func(a, b wire.ClusterMember) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// apiURL is where this node's API is as others reach it: on the host of its peer link where it listens on all addresses.
func (n *Node) apiURL() string {
	host, port, err := net.SplitHostPort(n.APIAddr())
	if err != nil {
		return "" // it does not listen yet
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ""
		for _, p := range n.cfg.Peer.Peers {
			if p.ID == n.cfg.ID {
				host, _, _ = net.SplitHostPort(p.Addr)
			}
		}
		if host == "" {
			return ""
		}
	}
	scheme := "http://"
	if n.cfg.API.Certificate != nil {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// Cluster returns what this node knows of all members.
func (n *Node) Cluster() api.Cluster { return n.outlook.cluster() }

// WatchCluster returns the same several times a second.
func (n *Node) WatchCluster(ctx context.Context) <-chan *api.Cluster { return n.outlook.watch(ctx) }

// Leaders returns who led when, as this node knew it since its start.
func (n *Node) Leaders() api.Leaders { return n.reigns.all(n.cfg.ID, time.Now()) }

const maxReportText = 256

// states are those that travel, by their number on the wire.
func reportState(i uint64) (wire.State, bool) {
	if i < 1 || i > uint64(len(roles)) {
		return "", false
	}
	return wire.State(roles[i-1].String()), true
}

func encodeReport(r wire.NodeReport) []byte {
	state := uint64(slices.IndexFunc(roles, func(x core.Role) bool { return x.String() == string(r.State) }) + 1) //nolint:gosec // not negative
	flags := uint64(0)
	if r.Syncing {
		flags |= 1
	}
	if r.Ready {
		flags |= 2
	}
	return encode(state, r.Term, []byte(shortened(r.Leader)), uint64(r.Height), uint64(r.Tip), uint64(max(r.LeaseMs, 0)), flags,
		[]byte(shortened(r.Health)), uint64(max(r.UptimeMs, 0)), []byte(shortened(r.API)))
}

func decodeReport(b []byte) (wire.NodeReport, error) {
	d := newReader(b, 10)
	var r wire.NodeReport
	state, known := reportState(d.uint())
	r.State, r.Term, r.Leader = state, d.uint(), string(d.bytes(maxReportText))
	r.Height, r.Tip = block.Height(d.uint()), block.Height(d.uint())
	lease, flags := d.uint(), d.uint()
	r.Health = string(d.bytes(maxReportText))
	uptime := d.uint()
	r.API = string(d.bytes(maxReportText))
	if err := d.end(); err != nil {
		return wire.NodeReport{}, err
	}
	const longest = 1 << 53 // what JSON carries exactly
	if !known || flags > 3 || lease > longest || uptime > longest {
		return wire.NodeReport{}, fmt.Errorf("%w: report", errMalformed)
	}
	r.LeaseMs, r.UptimeMs = int64(lease), int64(uptime) //nolint:gosec // checked
	r.Syncing, r.Ready = flags&1 != 0, flags&2 != 0
	return r, nil
}

// shortened bounds a text that travels.
func shortened(s string) string {
	if len(s) > maxReportText {
		return s[:maxReportText]
	}
	return s
}
