package node

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// syncLog tells an operator that this node takes over another one's chain: at once when a term's leader is followed
// first, then a line a second however many blocks come one by one, and a line at the end. Of the owner loop.
type syncLog struct {
	log    zerolog.Logger
	term   core.Term
	said   time.Time
	unsaid int // adoptions since the last line
	last   replication.Ref
}

const syncLogEvery = time.Second

// synced notes that the own chain is the leader's of term up to ref.
func (s *syncLog) synced(ref replication.Ref, term core.Term, now time.Time) {
	s.last = ref
	s.unsaid++
	if term != s.term || now.Sub(s.said) >= syncLogEvery {
		s.term, s.said = term, now
		s.say("own chain follows the term's leader")
	}
}

// appended notes that the node is back to taking blocks as they are proposed.
func (s *syncLog) appended() {
	if s.unsaid > 0 {
		s.say("own chain has caught up with the term's leader")
	}
}

func (s *syncLog) say(text string) {
	s.log.Info().Stringer("block", s.last).Uint64("term", uint64(s.term)).Int("records", s.unsaid).Msg(text)
	s.unsaid = 0
}
