package sync

import (
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// Progress says how far a transfer of state is. It is a plain copy.
type Progress struct {
	// Height is the block whose state is being transferred, 0 before the first transfer.
	Height block.Height
	// Done is how much of the state is here, from 0 to 1, and Linked how much of it was here before: counted by places in
	// the tree, of which equal ones hold about equally much.
	Done, Linked float64
	// Bytes were received, as they were on the wire without HTTP's own.
	Bytes uint64
	// Pieces is how many subtrees are stored, and Known how many there are as far as is known: it rises as larger ones are
	// split.
	Pieces, Known uint64
	// Nodes is how many of the state's nodes arrived.
	Nodes uint64
	// BytesPerSecond is the rate of late, and Remaining what is left at the pace so far; 0 while that cannot be told.
	BytesPerSecond float64
	Remaining      time.Duration
	// Running says that a transfer is under way.
	Running bool
}

// progress counts. Safe for concurrent use.
type progress struct {
	mu     sync.Mutex
	now    Progress
	begun  time.Time
	ended  time.Time
	sample time.Time // BytesPerSecond is as of then
	bytes  uint64    // at that time
}

func (p *progress) begin(h block.Height, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = Progress{Height: h, Running: true, Known: 1}
	p.begun, p.sample, p.bytes = now, now, 0
}

func (p *progress) end(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Running, p.ended = false, now
}

func (p *progress) change(fn func(p *Progress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.now)
}

// snapshot returns a copy, with the rate and what remains filled in.
func (p *progress) snapshot(now time.Time) Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.now.Running {
		now = p.ended
	}
	if d := now.Sub(p.sample); p.now.Running && d >= time.Second {
		rate := float64(p.now.Bytes-p.bytes) / d.Seconds()
		if p.now.BytesPerSecond == 0 {
			p.now.BytesPerSecond = rate
		}
		p.now.BytesPerSecond += (rate - p.now.BytesPerSecond) / 3
		p.sample, p.bytes = now, p.now.Bytes
	}
	out := p.now
	out.Done = min(1, out.Done)
	if fetched := out.Done - out.Linked; out.Running && fetched > 1e-6 {
		out.Remaining = time.Duration(float64(now.Sub(p.begun)) * (1 - out.Done) / fetched)
	}
	return out
}
