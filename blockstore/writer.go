package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// maxGroupBytes is where a group takes no further batch. It keeps a group's memory bounded and its log record below
// Pebble's threshold for large batches, unless a single batch is over it.
const maxGroupBytes = 8 << 20

// write is the writer goroutine: it takes all that is queued, makes groups of it, commits each with at most one fsync,
// publishes the result and answers, all in order. It holds the pen but while it waits for work and for the disk.
func (s *Store) write() {
	for {
		select {
		case <-s.wake:
		case <-s.writerDone:
			return
		}
		if !s.writeTurn() {
			return
		}
	}
}

// writeTurn writes and answers what is queued. False: that was the last, or the writer was relieved.
func (s *Store) writeTurn() bool {
	s.pen.Lock()
	defer s.pen.Unlock()
	if s.relieved {
		s.wakeWriter() // it was meant for the successor
		return false
	}
	closing := s.take()
	for len(s.hand) > 0 {
		if !s.writeGroup() {
			return false
		}
	}
	if closing { // nothing is queued after that
		close(s.writerDone)
	}
	return !closing
}

// relieve takes the writer's place at the first failure, since a failed file system never lets go of whoever waits for
// it: what the writer holds and all that comes later is answered with the failure.
func (s *Store) relieve() {
	select {
	case <-s.failed:
	case <-s.writerDone:
		return
	}
	for s.answerFailed() {
		select {
		case <-s.wake:
		case <-s.writerDone: // closed by the writer, before it could be relieved
			return
		}
	}
}

// answerFailed answers all that there is with the failure. False: the store is being closed and nothing more comes.
func (s *Store) answerFailed() bool {
	s.pen.Lock()
	defer s.pen.Unlock()
	if !s.relieved {
		select {
		case <-s.writerDone:
			return false
		default:
		}
		s.relieved = true
	}
	closing := s.take()
	for _, it := range s.hand {
		it.done(s.failErr)
	}
	s.hand = nil
	if closing {
		close(s.writerDone)
	}
	return !closing
}

// take moves what is queued into the hand of whoever holds the pen, and reports whether the store is being closed.
func (s *Store) take() (closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hand = append(s.hand, s.queue...)
	s.queue = nil
	return s.closing
}

// writeGroup writes and answers as many items from the front of the hand as one group takes. False: the writer was
// relieved meanwhile, the hand is no longer its own.
func (s *Store) writeGroup() bool {
	n, err := 0, s.failure()
	if err != nil {
		n = len(s.hand)
	} else {
		g := s.newGroup()
		for n < len(s.hand) && (n == 0 || g.pb.Len() < maxGroupBytes) && err == nil {
			err = g.add(s.hand[n].batch)
			n++
		}
		if err == nil {
			s.pen.Unlock()
			err = s.commit(g)
			s.pen.Lock()
			if s.relieved {
				return false
			}
		}
		if err = s.settle(g, err); err == nil {
			if g.jumped {
				s.recent.clear()
			}
			s.recent.update(g.cut, g.oldTip, g.blocks())
			s.state.Store(&g.st)
		}
	}
	done := s.hand[:n]
	s.hand = s.hand[n:]
	for _, it := range done {
		it.done(err)
	}
	return true
}

// settle ends a group that was committed, or was not because of err, and returns the store's failure if there is one.
func (s *Store) settle(g *group, err error) error {
	if err != nil {
		s.fail(err)
	}
	// Pebble reports some errors to its logger only, which has them recorded as a failure.
	if err := s.failure(); err != nil {
		return err
	}
	s.stats.record(g, g.bytes, g.waited)
	if err := g.pb.Close(); err != nil {
		s.fail(err)
	}
	return s.failure()
}

// commit writes a group to Pebble and, if it is to be synced, to the mark, and waits until it is applied there and durable
// here; in a failed file system for ever.
func (s *Store) commit(g *group) (err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble panics when its log cannot take a record
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if !g.sync && g.pb.Empty() {
		return nil
	}
	if err := g.seal(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	g.bytes = g.pb.Len()
	repr := g.pb.Repr()
	if !g.sync {
		repr = bytes.Clone(repr) // it is copied to the mark later
	}
	s.mark.hold(g.st.seq, repr, len(g.st.election))
	if g.sync {
		began := time.Now() //nolint:forbidigo // for Stats; nothing is decided by it
		err = s.commitMarked(g)
		g.waited = time.Since(began)
	} else {
		err = s.apply(g, pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// apply writes a group to Pebble.
func (s *Store) apply(g *group, how *pebble.WriteOptions) error {
	if err := s.db.Apply(g.pb, how); err != nil {
		return err
	}
	s.log.wrote(g.st.seq)
	return nil
}

// commitMarked writes a group to Pebble and has it, and what waits to be synced with it, durable in the mark. What is more
// than a record takes, or could be taken for one, is synced in the log first.
func (s *Store) commitMarked(g *group) error {
	first, how := s.log.upTo()+1, pebble.NoSync
	if s.mark.tooMuch {
		how = pebble.Sync
	}
	if err := s.apply(g, how); err != nil {
		return err
	}
	if how == pebble.Sync {
		s.log.reached(g.st.seq)
		s.mark.drop()
	}
	err := s.writeMark(g, first)
	if errors.Is(err, errMimic) { // as what is more than a record takes
		if err := s.log.flush(); err != nil {
			return err
		}
		s.log.reached(g.st.seq)
		s.mark.drop()
		err = s.writeMark(g, first)
	}
	return err
}

// writeMark has a record of all that is pending durable in the mark.
func (s *Store) writeMark(g *group, first uint64) error {
	at, err := s.room(s.mark.nextSize(len(g.st.election)))
	if err != nil {
		return err
	}
	if err := s.mark.write(&g.st, first, at); err != nil {
		return err
	}
	if s.mark.crowded() {
		s.log.hurry()
	}
	return nil
}

// room waits for a place for the mark's next record; and, when the log does not get on, for the log.
func (s *Store) room(size int) (int, error) {
	for {
		next := s.log.next()
		at, ok := s.mark.place(size, s.log.upTo())
		if ok && !s.log.late() {
			return at, nil
		}
		s.log.hurry()
		select {
		case <-next:
		case <-s.failed:
			return 0, s.failure()
		}
	}
}
