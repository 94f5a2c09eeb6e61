package peer

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what a link did since New; QueuedBytes and Conns are of this moment.
type Stats struct {
	BytesIn, BytesOut   uint64 // of frames, headers included, TLS's own bytes excluded
	FramesIn, FramesOut uint64 // pings and greetings included
	Connects            uint64 // outgoing connections made and welcomed
	Accepts             uint64 // incoming connections welcomed, of any protocol
	Drops               uint64 // frames refused by a full queue or lost with their connection before they were written
	Refused             uint64 // handshakes and hellos that failed, either side; connections over a bound
	ProtocolErrors      uint64 // connections ended because of what the peer sent
	QueuedBytes         uint64 // waiting for peers, on outgoing connections
	Conns               uint64 // incoming connections open, proved or not
}

type counters struct {
	bytesIn, bytesOut, framesIn, framesOut           atomic.Uint64
	connects, accepts, drops, refused, protocolError atomic.Uint64
}

// Stats returns the counters. They are read one after the other, not at one instant.
func (l *Link) Stats() Stats {
	s := Stats{
		BytesIn: l.count.bytesIn.Load(), BytesOut: l.count.bytesOut.Load(),
		FramesIn: l.count.framesIn.Load(), FramesOut: l.count.framesOut.Load(),
		Connects: l.count.connects.Load(), Accepts: l.count.accepts.Load(),
		Drops: l.count.drops.Load(), Refused: l.count.refused.Load(),
		ProtocolErrors: l.count.protocolError.Load(),
		Conns:          uint64(l.gate.size()),
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.byID {
		stream, rpc, _ := r.outgoing()
		if stream != nil {
			s.QueuedBytes += uint64(stream.out.held())
		}
		if rpc != nil {
			s.QueuedBytes += uint64(rpc.w.out.held())
		}
	}
	return s
}

// quiet lets one log line through every so often and counts the others. Safe for concurrent use.
type quiet struct {
	every time.Duration

	mu     sync.Mutex
	next   time.Time
	unsaid uint64
}

// speak reports whether to log now and how many lines were held back since the last one.
func (q *quiet) speak(now time.Time) (unsaid uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.next) {
		q.unsaid++
		return 0, false
	}
	unsaid = q.unsaid
	q.unsaid = 0
	q.next = now.Add(q.every)
	return unsaid, true
}
