package raftifytest

import "time"

// DiskRates say how long an fsync takes.
type DiskRates struct {
	Min, Max time.Duration
	Slow     float64 // probability of up to MaxSlow instead
	MaxSlow  time.Duration
}

// Disk is a FIFO queue of writes of type W under group commit: one fsync at a time, which makes durable all that was
// queued when it began. It is not safe for concurrent use.
type Disk[W any] struct {
	Rates   DiskRates // may be changed at any time; an fsync under way keeps its length
	rand    *Rand
	queue   []W
	syncing int // how many of the queue the fsync under way covers
	done    time.Duration
	hung    bool
}

// NewDisk returns an idle disk.
func NewDisk[W any](r *Rand, rates DiskRates) *Disk[W] { return &Disk[W]{Rates: rates, rand: r} }

// Write queues a write at true time now.
func (d *Disk[W]) Write(now time.Duration, w W) {
	d.queue = append(d.queue, w)
	d.start(now)
}

func (d *Disk[W]) start(now time.Duration) {
	if d.syncing > 0 || len(d.queue) == 0 {
		return
	}
	d.syncing = len(d.queue)
	d.done = now + d.rand.Between(d.Rates.Min, d.Rates.Max)
	if d.rand.Chance(d.Rates.Slow) {
		d.done = now + d.rand.Between(d.Rates.Max, d.Rates.MaxSlow)
	}
}

// Next is when the fsync under way ends; ok is false when the disk is idle or hangs.
func (d *Disk[W]) Next() (at time.Duration, ok bool) { return d.done, d.syncing > 0 && !d.hung }

// Step ends the fsync if it is due by now and returns the writes that it made durable, in order.
func (d *Disk[W]) Step(now time.Duration) []W {
	if at, ok := d.Next(); !ok || at > now {
		return nil
	}
	out := d.queue[:d.syncing:d.syncing]
	d.queue = d.queue[d.syncing:]
	d.syncing = 0
	d.start(now)
	return out
}

// Pending is how many writes are not durable yet.
func (d *Disk[W]) Pending() int { return len(d.queue) }

// Hang makes fsyncs hang until they are let go.
func (d *Disk[W]) Hang(now time.Duration, on bool) {
	d.hung = on
	d.done = max(d.done, now)
}

// Crash loses an arbitrary suffix of the writes that are not durable yet and returns the rest: they are durable though
// nobody was told. The queue is empty afterwards.
func (d *Disk[W]) Crash() []W {
	out := d.queue[:d.rand.IntN(len(d.queue)+1)]
	d.queue, d.syncing, d.hung = nil, 0, false
	return out
}
