package node

import (
	"context"
	"errors"
	"sync"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

// hub tells subscribers what happens. It never waits for one: a subscriber that falls behind is closed.
type hub struct {
	mu     sync.Mutex
	subs   map[chan api.Event]struct{}
	closed bool
}

const subscriberBuffer = 256

func newHub() *hub { return &hub{subs: map[chan api.Event]struct{}{}} }

func (h *hub) subscribe(ctx context.Context) <-chan api.Event {
	ch := make(chan api.Event, subscriberBuffer)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(ch)
		return ch
	}
	h.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(ch)
	})
	return ch
}

func (h *hub) drop(ch chan api.Event) {
	if _, ok := h.subs[ch]; ok {
		delete(h.subs, ch)
		close(ch)
	}
}

func (h *hub) publish(e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.subs {
		select {
		case ch <- e:
		default:
			h.drop(ch)
		}
	}
}

func (h *hub) leader(v *view) {
	id := v.leader
	h.publish(api.Event{Leader: &wire.LeaderEvent{Leader: id, Term: uint64(v.term)}})
}

func (h *hub) txFailed(hash block.Hash, err error) {
	e := wire.TxFailedEvent{Hash: hash, Code: wire.CodeInternal, Message: err.Error()}
	if ae := (*api.Error)(nil); errors.As(err, &ae) {
		e.Code, e.Message = ae.Code, ae.Message
	}
	h.publish(api.Event{TxFailed: &e})
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for ch := range h.subs {
		h.drop(ch)
	}
}
