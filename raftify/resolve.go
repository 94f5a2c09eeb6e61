package raftify

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	resolveAgain   = 15 * time.Second // how long an answer is used before it is asked for again, meanwhile still used
	resolveTimeout = 3 * time.Second
	resolveRetry   = time.Second
)

// resolver turns host:port into ip:port without ever making its caller wait: a name that was never resolved is not
// known yet, one whose server stopped answering keeps its last address.
type resolver struct {
	ctx    context.Context
	wg     sync.WaitGroup
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	hosts map[string]*hostEntry
}

type hostEntry struct {
	ip    netip.Addr
	asked time.Time
	busy  bool
}

func newResolver(ctx context.Context) *resolver {
	return &resolver{ctx: ctx, hosts: map[string]*hostEntry{}, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// resolve returns the address, ok being false while it is not known.
func (r *resolver) resolve(addr string) (ap netip.AddrPort, ok bool) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap, true
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	ip := r.host(host)
	return netip.AddrPortFrom(ip, uint16(p)), ip.IsValid()
}

func (r *resolver) host(host string) netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.hosts[host]
	if e == nil {
		if len(r.hosts) >= 4*maxMembers {
			clear(r.hosts)
		}
		e = &hostEntry{}
		r.hosts[host] = e
	}
	age := resolveAgain
	if !e.ip.IsValid() {
		age = resolveRetry
	}
	if !e.busy && r.ctx.Err() == nil && (e.asked.IsZero() || time.Since(e.asked) > age) {
		e.busy, e.asked = true, time.Now()
		r.wg.Go(func() { r.refresh(host, e) })
	}
	return e.ip
}

func (r *resolver) refresh(host string, e *hostEntry) {
	ip, err := lookupOne(r.ctx, host, r.lookup)
	r.mu.Lock()
	defer r.mu.Unlock()
	e.busy = false
	if err == nil {
		e.ip = ip
	}
}

// lookupOne returns the first address of host, IPv4 before IPv6 so that all nodes agree on a family.
func lookupOne(ctx context.Context, host string, lookup func(context.Context, string) ([]netip.Addr, error)) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := lookup(ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	if len(ips) == 0 {
		return netip.Addr{}, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return ips[0], nil
}
