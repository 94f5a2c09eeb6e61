package raftifytest

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// NetRates say what a network does to messages. The zero value delivers each at once and in order.
type NetRates struct {
	Loss, Dup          float64 // probability a message
	MinDelay, MaxDelay time.Duration
	Slow               float64       // probability of a delay of up to MaxSlow instead: old messages turn up late
	MaxSlow            time.Duration // also how late kept messages come after a link has mended
	Keep               float64       // probability that a message on a cut link waits there until it mends
}

// Envelope is a message on its way.
type Envelope[M any] struct {
	From, To core.NodeID
	Sent, At time.Duration
	Msg      M
	seq      uint64
}

type link struct{ from, to core.NodeID }

// Net carries messages of type M between nodes. It is not safe for concurrent use.
type Net[M any] struct {
	Rates  NetRates // may be changed at any time
	rand   *Rand
	flight flight[M]
	parked map[link][]Envelope[M]
	cut    map[link]bool
	seq    uint64
}

// NewNet returns a network without cuts.
func NewNet[M any](r *Rand, rates NetRates) *Net[M] {
	return &Net[M]{Rates: rates, rand: r, parked: map[link][]Envelope[M]{}, cut: map[link]bool{}}
}

// Send takes a message at true time now.
func (n *Net[M]) Send(now time.Duration, from, to core.NodeID, m M) {
	if n.rand.Chance(n.Rates.Loss) {
		return
	}
	e := Envelope[M]{From: from, To: to, Sent: now, Msg: m}
	n.post(now, e)
	if n.rand.Chance(n.Rates.Dup) {
		n.post(now, e)
	}
}

func (n *Net[M]) post(now time.Duration, e Envelope[M]) {
	e.At = now + n.rand.Between(n.Rates.MinDelay, n.Rates.MaxDelay)
	if n.rand.Chance(n.Rates.Slow) {
		e.At = now + n.rand.Between(n.Rates.MaxDelay, n.Rates.MaxSlow)
	}
	n.seq++
	e.seq = n.seq
	heap.Push(&n.flight, e)
}

// Next is when the next message arrives; ok is false when none is on its way.
func (n *Net[M]) Next() (at time.Duration, ok bool) {
	if len(n.flight) == 0 {
		return 0, false
	}
	return n.flight[0].At, true
}

// Step takes out one message that has arrived by now; ok is false when there is none. Messages that meet a cut link
// are lost or kept there.
func (n *Net[M]) Step(now time.Duration) (e Envelope[M], ok bool) {
	for len(n.flight) > 0 && n.flight[0].At <= now {
		e = heap.Pop(&n.flight).(Envelope[M])
		l := link{e.From, e.To}
		if !n.cut[l] {
			return e, true
		}
		if n.rand.Chance(n.Rates.Keep) {
			n.parked[l] = append(n.parked[l], e)
		}
	}
	return Envelope[M]{}, false
}

// Cut cuts the link in one direction.
func (n *Net[M]) Cut(from, to core.NodeID) { n.cut[link{from, to}] = true }

// CutBoth cuts the link between two nodes in both directions.
func (n *Net[M]) CutBoth(a, b core.NodeID) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Mend mends one direction. Messages that were kept arrive after a while.
func (n *Net[M]) Mend(now time.Duration, from, to core.NodeID) {
	l := link{from, to}
	delete(n.cut, l)
	for _, e := range n.parked[l] {
		n.post(now, e)
	}
	delete(n.parked, l)
}

// Heal mends every link.
func (n *Net[M]) Heal(now time.Duration) {
	links := make([]link, 0, len(n.cut))
	for l := range n.cut {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b link) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	for _, l := range links {
		n.Mend(now, l.from, l.to)
	}
}

// Connected reports whether the link is whole in this direction.
func (n *Net[M]) Connected(from, to core.NodeID) bool { return !n.cut[link{from, to}] }

// Take removes the messages on their way that match, and returns them in the order in which they would arrive: to
// lose them, or to Put them back later.
func (n *Net[M]) Take(match func(Envelope[M]) bool) []Envelope[M] {
	var out []Envelope[M]
	n.flight = slices.DeleteFunc(n.flight, func(e Envelope[M]) bool {
		if match(e) {
			out = append(out, e)
			return true
		}
		return false
	})
	heap.Init(&n.flight)
	slices.SortFunc(out, Envelope[M].before)
	return out
}

// Put puts a message on its way that arrives at e.At.
func (n *Net[M]) Put(e Envelope[M]) {
	n.seq++
	e.seq = n.seq
	heap.Push(&n.flight, e)
}

func (e Envelope[M]) before(o Envelope[M]) int {
	return cmp.Or(cmp.Compare(e.At, o.At), cmp.Compare(e.seq, o.seq))
}

// flight is a heap by time of arrival.
type flight[M any] []Envelope[M]

func (f flight[M]) Len() int           { return len(f) }
func (f flight[M]) Less(i, j int) bool { return f[i].before(f[j]) < 0 }
func (f flight[M]) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *flight[M]) Push(x any)        { *f = append(*f, x.(Envelope[M])) }
func (f *flight[M]) Pop() any {
	old := *f
	e := old[len(old)-1]
	*f = old[:len(old)-1]
	return e
}
