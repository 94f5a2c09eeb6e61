package peer

import (
	"context"
	"crypto/ed25519"
	"sync"
)

// remote is one configured peer. Another key for the same id makes another remote.
type remote struct {
	id     string
	key    ed25519.PublicKey
	seat   *seat
	ctx    context.Context // ends when the peer is no longer configured or the link closes
	cancel context.CancelFunc
	kick   [roleCount]chan struct{} // a token: redial now
	warn   quiet

	mu       sync.Mutex
	addr     string
	stream   *wire
	rpc      *rpcClient
	changed  chan struct{} // closed and replaced when stream or rpc changes
	incoming [roleCount]*wire
}

// seat is what belongs to an id for as long as the link lives, whichever key the id has: it keeps the promises of
// Handler when an old connection ends while its successor already works.
type seat struct {
	in       chan struct{} // held while HandleMessage may be called for the id
	out      chan struct{} // held from PeerUp to PeerDown
	requests chan struct{} // one token a running HandleRequest
}

func newSeat(maxRequests int) *seat {
	return &seat{
		in:       make(chan struct{}, 1),
		out:      make(chan struct{}, 1),
		requests: make(chan struct{}, maxRequests),
	}
}

func newRemote(ctx context.Context, p Peer, s *seat) *remote {
	r := &remote{
		id: p.ID, key: p.PublicKey, addr: p.Addr, seat: s,
		changed: make(chan struct{}),
		warn:    quiet{every: logEvery},
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	for i := range r.kick {
		r.kick[i] = make(chan struct{}, 1)
	}
	return r
}

func (r *remote) address() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addr
}

// setAddress changes where the peer is dialled from now on; a working connection is kept.
func (r *remote) setAddress(addr string) {
	r.mu.Lock()
	moved := r.addr != addr
	r.addr = addr
	r.mu.Unlock()
	if moved {
		r.redial()
	}
}

// redial makes dialers that wait between attempts try at once.
func (r *remote) redial() {
	for _, role := range []role{roleStream, roleRPC} {
		select {
		case r.kick[role] <- struct{}{}:
		default:
		}
	}
}

// outgoing returns the two outgoing connections, nil where there is none, and a channel that closes when that changes.
func (r *remote) outgoing() (*wire, *rpcClient, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream, r.rpc, r.changed
}

func (r *remote) setStream(w *wire) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = w
	r.announceLocked()
}

func (r *remote) setRPC(c *rpcClient) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rpc = c
	r.announceLocked()
}

func (r *remote) announceLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// arrive makes w the peer's incoming connection of its role and ends the one before: a peer dials again when it has
// lost a connection, which this side may not have noticed yet.
func (r *remote) arrive(role role, w *wire) {
	r.mu.Lock()
	old := r.incoming[role]
	r.incoming[role] = w
	r.mu.Unlock()
	if old != nil {
		old.close(errReplaced)
	}
}

func (r *remote) depart(role role, w *wire) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.incoming[role] == w {
		r.incoming[role] = nil
	}
}
