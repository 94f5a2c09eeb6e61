package api

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxTracked bounds how many client addresses are remembered: two generations of so many, 24 bytes and a map's share each.
const maxTracked = 32 << 10

// limiter gives each client address a number of requests a second. For each it keeps the instant at which what it has
// used would be paid off: nothing else, so that a request costs one look into a map. An address whose debts are paid is as
// good as one never seen; when there are too many, the older generation is forgotten, which forgives debts and never
// makes any. Safe for concurrent use.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	cost  time.Duration // of one request; 0: no limit
	burst time.Duration // how far ahead of time an address may be
	max   int
	young map[netip.Addr]time.Time
	old   map[netip.Addr]time.Time
}

func newLimiter(perSecond, burst int, now func() time.Time) *limiter {
	l := &limiter{now: now, max: maxTracked}
	l.set(perSecond, burst)
	return l
}

// set changes the rate: perSecond requests, and burst of them at once; perSecond 0 is no limit, burst 0 a second's worth.
func (l *limiter) set(perSecond, burst int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.young, l.old = map[netip.Addr]time.Time{}, nil
	l.cost, l.burst = 0, 0
	if perSecond <= 0 {
		return
	}
	if burst <= 0 {
		burst = perSecond
	}
	l.cost = max(time.Second/time.Duration(perSecond), 1)
	l.burst = time.Duration(burst) * l.cost
}

// take counts one request of a client. Not ok: it is to try again after wait.
func (l *limiter) take(client string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cost == 0 {
		return 0, true
	}
	addr := clientAddr(client)
	now := l.now()
	due, known := l.young[addr]
	if !known {
		due, known = l.old[addr]
	}
	if !known || due.Before(now) {
		due = now
	}
	due = due.Add(l.cost)
	if ahead := due.Sub(now); ahead > l.burst {
		return ahead - l.burst, false
	}
	if len(l.young) >= l.max {
		l.old, l.young = l.young, make(map[netip.Addr]time.Time)
	}
	l.young[addr] = due
	return 0, true
}

// clientAddr is what stands for a client: its IPv4 address, or the /64 that one IPv6 host has to itself. Headers that
// name another client are anybody's to send, and are not looked at.
func clientAddr(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
