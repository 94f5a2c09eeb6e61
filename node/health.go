package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

const (
	healthEvery   = 500 * time.Millisecond
	healthTimeout = 2 * time.Second // an answer that takes longer is a bad one
	probeEvery    = 5 * time.Second
	probeFile     = "write.probe"
	reserveShare  = 4 // below a quarter of Limits.FreeBytes a node does not even stand (PROTOCOL R24)
)

var (
	errLowSpace = errors.New("little free space")
	errNoSpace  = errors.New("no free space in reserve")
)

// health finds out whether this node should lead: whether its disk takes writes and has room, and what the application
// says. It tells the election, which moves the lead to a healthy node if there is one. What failed in the store itself is
// another matter: that ends the node (R24).
type health struct {
	n       *Node
	leaving atomic.Bool // whatever else holds, this node does not lead again

	mu  sync.Mutex
	fit core.Fitness // as the election was told last
	why string       // "" when all is well
}

// text is what the status shows.
func (h *health) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == "" {
		return "ok"
	}
	return h.why
}

func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	disk := check{every: probeEvery, fn: func(context.Context) error { return probeDisk(h.n.cfg.DataDir) }}
	app := check{fn: h.n.cfg.Health}
	defer app.finish()
	defer disk.finish()
	for {
		space := freeSpace(h.n.cfg.DataDir, h.n.cfg.Limits.FreeBytes)
		h.set(errors.Join(space, disk.ask(ctx), app.ask(ctx)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check is one question whose answer may never come. While one is open no other is asked.
type check struct {
	every time.Duration
	fn    func(ctx context.Context) error // nil: all is well

	open  chan error
	since time.Time
	last  error
}

// ask returns the newest answer, an error when the open question is overdue.
func (c *check) ask(ctx context.Context) error {
	if c.fn == nil {
		return nil
	}
	if c.open == nil && (c.since.IsZero() || time.Since(c.since) >= c.every) {
		c.open, c.since = make(chan error, 1), time.Now()
		go func(answer chan error) {
			ctx, cancel := context.WithTimeout(ctx, healthTimeout)
			defer cancel()
			answer <- c.fn(ctx)
		}(c.open)
	}
	if c.open == nil {
		return c.last
	}
	wait := time.NewTimer(healthEvery / 10)
	defer wait.Stop()
	select {
	case c.last = <-c.open:
		c.open = nil
	case <-wait.C:
		if open := time.Since(c.since); open > healthTimeout {
			c.last = fmt.Errorf("no answer for %v", open.Round(time.Second))
		}
	case <-ctx.Done():
	}
	return c.last
}

// finish waits for an open question, but not for ever: a disk that hangs must not hold the node up.
func (c *check) finish() {
	if c.open == nil {
		return
	}
	limit := time.NewTimer(healthTimeout)
	defer limit.Stop()
	select {
	case <-c.open: //nolint:errcheck // nobody asks any more
	case <-limit.C:
	}
}

func (h *health) set(err error) {
	why, f := "", core.Fit
	if err != nil {
		why, f = strings.ReplaceAll(err.Error(), "\n", "; "), core.Unfit
		if errors.Is(err, errNoSpace) {
			f = core.Unable
		}
	}
	h.mu.Lock()
	changed := (h.why == "") != (why == "")
	h.why = why
	h.mu.Unlock()
	if changed && err != nil {
		h.n.log.Warn().Str("why", why).Msg("this node should not lead: it hands over to a healthy one, and campaigns late")
	} else if changed {
		h.n.log.Info().Msg("this node is healthy again")
	}
	h.tell(f)
}

func (h *health) tell(f core.Fitness) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving.Load() {
		f = core.Unable
	}
	if f != h.fit {
		h.fit = f
		h.n.raft.SetFitness(f)
	}
}

// leave sees to it that this node is not elected any more, and returns when that is so: it is about to stop, and whoever it
// led would lose their leader again. It goes on voting and acknowledging to the end. It waits for the owner loop alone, and
// no longer than ctx; a node that leads because nobody takes over goes on.
func (h *health) leave(ctx context.Context) {
	h.leaving.Store(true)
	h.tell(core.Unable)
	_ = h.n.raft.Turned(ctx) // an election that has ended is one that it does not win
}

// freeSpace compares what is left on the disk of a folder with what should be.
func freeSpace(dir string, want uint64) error {
	if want == 0 {
		return nil
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // a block size is positive
	switch {
	case free < want/reserveShare:
		return fmt.Errorf("data folder: %w: %d bytes", errNoSpace, free)
	case free < want:
		return fmt.Errorf("data folder: %w: %d bytes, %d are wanted", errLowSpace, free, want)
	}
	return nil
}

// probeDisk writes and syncs a small file: a leader without traffic learns of a disk that went away before its next block
// does.
func probeDisk(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, probeFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	_, err = f.WriteString("this file shows that the folder takes writes\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}
