package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// line is one step of the job.
type line struct {
	ID    core.NodeID `json:"id"`
	Term  core.Term   `json:"term"`
	Step  int         `json:"step"`
	At    int64       `json:"at"`    // Unix nanoseconds
	Until int64       `json:"until"` // the lease was good for this long, unless it was given up for a handover
	End   bool        `json:"end"`   // no step: the job noticed that its leadership is over
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) (err error) {
	fs := flag.NewFlagSet("example", flag.ContinueOnError)
	fs.SetOutput(stderr)
	config := fs.String("config", "raftify.json", "the node's raftify.json")
	data := fs.String("data", "", "folder for the node's vote")
	out := fs.String("out", "", "file that the job writes to")
	every := fs.Duration("every", 5*time.Millisecond, "time between two steps of the job")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *data == "" || *out == "" {
		return errors.New("-data and -out are needed")
	}
	cfg, err := raftify.LoadConfig(*config)
	if err != nil {
		return err
	}
	store, err := raftify.OpenFileStore(*data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() // after the node

	ctx, fatal := context.WithCancelCause(ctx)
	defer fatal(nil)
	node, err := raftify.Open(ctx, raftify.Options{
		Config: cfg, Store: store, Logger: zerolog.New(stderr).With().Timestamp().Str("node", string(cfg.ID)).Logger(),
		Fatal: fatal,
	})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, node.Shutdown(end)) // hands over first
	}()
	for {
		lead, err := node.Leadership(ctx)
		if err != nil {
			if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
				return nil // told to stop
			}
			return errors.Join(err, context.Cause(ctx))
		}
		if err := job(lead, node.ID(), *out, *every); err != nil {
			return err
		}
	}
}

// job runs for as long as this process leads.
func job(lead *raftify.Leadership, id core.NodeID, out string, every time.Duration) error {
	f, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // a line that was cut off is the reader's to notice
	write := func(l line) error {
		b, err := json.Marshal(l)
		if err == nil {
			_, err = f.Write(append(b, '\n'))
		}
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for step := 1; ; step++ {
		select {
		case <-lead.Done():
		case <-tick.C:
		}
		// The wall clock first, then the lease: whatever passes in between makes the claim shorter, not longer.
		at := time.Now()
		left := lead.Left()
		l := line{ID: id, Term: lead.Term, Step: step, At: at.UnixNano(), Until: at.Add(left).UnixNano(), End: left == 0}
		if err := write(l); err != nil || l.End {
			return err
		}
	}
}
