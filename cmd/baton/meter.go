package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/archive"
	fastsync "github.com/baton-ha/baton/node/sync"
)

// meter shows on stdout how far `baton sync` is: as a bar on a terminal, otherwise as a line now and then, or as JSON, one
// object a line. It is safe for concurrent use.
type meter struct {
	cmd    *cobra.Command
	asJSON bool
	screen bool
	every  time.Duration

	mu    sync.Mutex
	last  time.Time
	width int // of the line on the screen
	bytes uint64
}

func newMeter(cmd *cobra.Command, asJSON, terminal bool) *meter {
	m := &meter{cmd: cmd, asJSON: asJSON, screen: terminal && !asJSON, every: linesEvery}
	if m.screen {
		m.every = meterEvery
	}
	return m
}

// step is what `baton sync --json` prints, one a line.
type step struct {
	Phase            string       `json:"phase"` // state, blocks or done
	Height           block.Height `json:"height"`
	Target           block.Height `json:"target,omitempty"`
	Bytes            uint64       `json:"bytes,omitempty"`
	Done             float64      `json:"done,omitempty"`
	Pieces           uint64       `json:"pieces,omitempty"`
	Known            uint64       `json:"pieces_known,omitempty"`
	BytesPerSecond   float64      `json:"bytes_per_second,omitempty"`
	RemainingSeconds float64      `json:"remaining_seconds,omitempty"`
}

// transfer shows a client's progress until the function that it returns is called.
func (m *meter) transfer(c *fastsync.Client) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.state(c.Progress(), false)
			case <-over:
				m.state(c.Progress(), true)
				return
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

func (m *meter) state(p fastsync.Progress, always bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes = p.Bytes
	text := fmt.Sprintf("state of block %d %s %3.0f%%  %s, %s/s, %d of %d pieces", p.Height, bar(p.Done, m.screen), 100*p.Done,
		bytesText(float64(p.Bytes)), bytesText(p.BytesPerSecond), p.Pieces, p.Known)
	if p.Running && p.Remaining > 0 {
		text += fmt.Sprintf(", %v left", p.Remaining.Round(time.Second))
	}
	m.put(always, text, step{
		Phase: "state", Height: p.Height, Bytes: p.Bytes, Done: p.Done, Pieces: p.Pieces, Known: p.Known,
		BytesPerSecond: p.BytesPerSecond, RemainingSeconds: p.Remaining.Seconds(),
	})
}

// block shows that a block was executed.
func (m *meter) block(h, tip block.Height) {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := float64(h) / float64(max(tip, 1))
	m.put(h == tip, fmt.Sprintf("block %d of %d %s", h, tip, bar(done, m.screen)), step{Phase: "blocks", Height: h, Target: tip, Done: done})
}

// put shows a line, unless another one was shown a moment ago.
func (m *meter) put(always bool, text string, s step) {
	now := time.Now()
	if !always && now.Sub(m.last) < m.every {
		return
	}
	m.last = now
	to := m.cmd.OutOrStdout()
	if m.asJSON {
		_ = json.NewEncoder(to).Encode(s) // if it fails, so does the last one
		return
	}
	if !m.screen {
		fmt.Fprintln(to, text) //nolint:errcheck // it is only a show
		return
	}
	fmt.Fprintf(to, "\r%-*s", m.width, text) //nolint:errcheck // it is only a show
	m.width = len(text)
}

// end leaves the line of the bar.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave()
}

func (m *meter) leave() {
	if m.screen && m.width > 0 {
		fmt.Fprintln(m.cmd.OutOrStdout()) //nolint:errcheck // it is only a show
		m.width = 0
	}
}

// done prints how it ended.
func (m *meter) done(h block.Height, sum *archive.Summary) error {
	m.end()
	if m.asJSON {
		return json.NewEncoder(m.cmd.OutOrStdout()).Encode(step{Phase: "done", Height: h, Bytes: m.bytes, Done: 1})
	}
	return printf(m.cmd, "the folder is at block %d: %s of state, %d blocks\n", h, bytesText(float64(m.bytes)), sum.Blocks)
}

// logger is for what a client says of its peers: it must not tear the bar.
func (m *meter) logger(c config.Log) zerolog.Logger {
	if m.asJSON {
		c.Format = "json"
	}
	return newLogger(meterLog{m}, c)
}

// meterLog is where several goroutines log at a time.
type meterLog struct{ m *meter }

func (l meterLog) Write(b []byte) (int, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.leave()
	if _, err := l.m.cmd.OutOrStdout().Write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// bar draws a bar where it can move.
func bar(done float64, draw bool) string {
	if !draw {
		return ""
	}
	const width = 24
	n := int(width * min(max(done, 0), 1))
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

func bytesText(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4g TiB", n)
}
