package node

import (
	"sync"
	"time"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

// reigns remembers who led when, as this node knew it: the newest spans, in memory. Safe for concurrent use.
type reigns struct {
	mu      sync.Mutex
	spans   []reign // the last one goes on
	dropped uint64
}

// reign is a time in which one leader was known for one term, or none.
type reign struct {
	leader string
	term   core.Term
	from   time.Time // with its monotonic part, which the lengths are made of
}

// keepReigns is how many spans are remembered: days of a calm cluster, and the newest hour of one that is not.
const keepReigns = 256

// note says what is so from now on; the same again changes nothing. Terms that come and go without a leader are one span.
func (r *reigns) note(leader string, term core.Term, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spans); n > 0 {
		last := &r.spans[n-1]
		if last.leader == leader && (last.term == term || leader == "") {
			last.term = max(last.term, term)
			return
		}
	}
	r.spans = append(r.spans, reign{leader, term, now})
	if over := len(r.spans) - keepReigns; over > 0 {
		r.dropped += uint64(over)
		r.spans = append(r.spans[:0], r.spans[over:]...)
	}
}

// all returns what is remembered, for the node id.
func (r *reigns) all(id string, now time.Time) api.Leaders {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := api.Leaders{Node: id, Time: now.UnixMilli(), Dropped: r.dropped, Spans: make([]wire.LeaderSpan, len(r.spans))}
	for i, s := range r.spans {
		end := now
		if i+1 < len(r.spans) {
			end = r.spans[i+1].from
		}
		out.Spans[i] = wire.LeaderSpan{
			Leader: s.leader, Term: uint64(s.term), From: s.from.UnixMilli(), Micros: max(0, end.Sub(s.from).Microseconds()),
		}
	}
	return out
}
