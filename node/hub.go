package node

import (
	"errors"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

// hub tells subscribers what happens. It never waits for one: a subscriber that falls behind is closed.
type hub struct{ subscribers[api.Event] }

const subscriberBuffer = 256

func (h *hub) publish(e api.Event) {
	h.each(func(ch chan api.Event) {
		select {
		case ch <- e:
		default:
			h.drop(ch)
		}
	})
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
