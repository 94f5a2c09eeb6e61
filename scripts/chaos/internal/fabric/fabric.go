package fabric

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

// Cut says how a link is cut.
type Cut uint8

// The ways to cut a link.
const (
	// Whole: the link works.
	Whole Cut = iota
	// Drop: packets vanish.
	Drop
	// Reject: packets are refused, as a firewall does.
	Reject
)

// Rule is what a link does to each packet. The zero value carries it at once.
type Rule struct {
	Cut Cut
	// Loss and Repeat are probabilities.
	Loss, Repeat float64
	// Delay is added to each packet, and up to Jitter more to each by chance: packets overtake each other.
	Delay, Jitter time.Duration
	// MaxBytes loses packets that are larger, 0 none.
	MaxBytes int
}

// Stats counts packets.
type Stats struct {
	Carried  int64 `json:"carried"`
	Dropped  int64 `json:"dropped"`
	Rejected int64 `json:"rejected"`
	Delayed  int64 `json:"delayed"`
	Repeated int64 `json:"repeated"`
}

// Fabric connects cards. Make it with [New].
type Fabric struct {
	ports []*port
	rules []atomic.Pointer[Rule] // from*len(ports) + to
	away  []time.Duration        // likewise: how long a packet takes at least
	wg    sync.WaitGroup

	carried, dropped, rejected, delayed, repeated atomic.Int64
}

type port struct {
	f    *Fabric
	i    int
	card *sandbox.Card
	rng  *rand.Rand // of the reading goroutine

	mu   sync.Mutex
	late lateHeap
	wake chan struct{}
	done chan struct{}
}

// New connects the cards by links that work, and carries packets until Close. The seed decides which packets are lost.
// The first far cards are as far from each other as a round trip of rtt says, whatever the rules are; others are near.
func New(seed uint64, rtt time.Duration, far int, cards ...*sandbox.Card) *Fabric {
	f := &Fabric{rules: make([]atomic.Pointer[Rule], len(cards)*len(cards)), away: make([]time.Duration, len(cards)*len(cards))}
	for i := range far {
		for j := range far {
			f.away[i*len(cards)+j] = rtt / 2
		}
	}
	for i := range f.rules {
		f.rules[i].Store(&Rule{})
	}
	for i, card := range cards {
		f.ports = append(f.ports, &port{
			f: f, i: i, card: card, rng: rand.New(rand.NewPCG(seed, uint64(i))),
			wake: make(chan struct{}, 1), done: make(chan struct{}),
		})
	}
	for _, p := range f.ports {
		f.wg.Go(p.read)
		f.wg.Go(p.deliver)
	}
	return f
}

// Close takes the cards away and returns when nothing is carried any more.
func (f *Fabric) Close() error {
	var errs []error
	for _, p := range f.ports {
		if err := p.card.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, fmt.Errorf("card %v: %w", p.card.Addr, err))
		}
		close(p.done)
	}
	f.wg.Wait()
	return errors.Join(errs...)
}

// Set changes the rule of the link from one card to another, by their places in [New].
func (f *Fabric) Set(from, to int, r Rule) { f.rules[from*len(f.ports)+to].Store(&r) }

// Get returns the rule of a link.
func (f *Fabric) Get(from, to int) Rule { return *f.rules[from*len(f.ports)+to].Load() }

// Stats returns the packets so far.
func (f *Fabric) Stats() Stats {
	return Stats{
		Carried: f.carried.Load(), Dropped: f.dropped.Load(), Rejected: f.rejected.Load(),
		Delayed: f.delayed.Load(), Repeated: f.repeated.Load(),
	}
}

func (p *port) read() {
	buf := make([]byte, sandbox.MTU+64)
	for {
		n, err := p.card.Read(buf)
		if err != nil {
			return // the card was taken away
		}
		dst, ok := destination(buf[:n])
		if !ok {
			continue
		}
		to := slices.IndexFunc(p.f.ports, func(q *port) bool { return q.card.Addr == dst })
		if to < 0 || to == p.i {
			continue
		}
		p.carry(buf[:n], p.f.ports[to])
	}
}

// carry does to a packet what its link says. The packet is the reader's buffer.
func (p *port) carry(packet []byte, to *port) {
	f := p.f
	r := f.Get(p.i, to.i)
	switch {
	case r.Cut == Reject:
		f.rejected.Add(1)
		if answer := refusal(packet); answer != nil {
			p.write(answer)
		}
		return
	case r.Cut == Drop, r.MaxBytes > 0 && len(packet) > r.MaxBytes, r.Loss > 0 && p.rng.Float64() < r.Loss:
		f.dropped.Add(1)
		return
	}
	copies := 1
	if r.Repeat > 0 && p.rng.Float64() < r.Repeat {
		copies = 2
		f.repeated.Add(1)
	}
	for range copies {
		delay := r.Delay + f.away[p.i*len(f.ports)+to.i]
		if r.Jitter > 0 {
			delay += time.Duration(p.rng.Int64N(int64(r.Jitter)))
		}
		f.carried.Add(1)
		if delay == 0 {
			to.write(packet)
			continue
		}
		f.delayed.Add(1)
		to.later(late{at: time.Now().Add(delay), from: p.i, packet: slices.Clone(packet)})
	}
}

// write hands the port's host a packet. One that it does not take is lost, as on any network.
func (p *port) write(packet []byte) { _, _ = p.card.Write(packet) }

func (p *port) later(l late) {
	p.mu.Lock()
	heap.Push(&p.late, l)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliver hands over late packets when they are due.
func (p *port) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for {
			p.mu.Lock()
			if len(p.late) == 0 {
				p.mu.Unlock()
				break
			}
			if d := time.Until(p.late[0].at); d > 0 {
				wait = d
				p.mu.Unlock()
				break
			}
			l := heap.Pop(&p.late).(late)
			p.mu.Unlock()
			if p.f.Get(l.from, p.i).Cut != Whole {
				p.f.dropped.Add(1)
				continue
			}
			p.write(l.packet)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.done:
			return
		}
	}
}

// late is a packet under way.
type late struct {
	at     time.Time
	from   int
	packet []byte
}

type lateHeap []late

func (h lateHeap) Len() int           { return len(h) }
func (h lateHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h lateHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lateHeap) Push(x any)        { *h = append(*h, x.(late)) }
func (h *lateHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = late{}
	*h = old[:len(old)-1]
	return x
}

// destination returns where an IPv4 packet goes.
func destination(p []byte) (netip.Addr, bool) {
	if len(p) < ipHeader || p[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(p[16:20])), true
}
