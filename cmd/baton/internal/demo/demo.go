package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Options say what a run is.
type Options struct {
	// Binary is the baton executable that the nodes run.
	Binary string
	// Dir is where the cluster's files go, which must be empty or not there; they are kept. Empty means a folder of its
	// own, which is removed afterwards unless Keep is set or something was wrong.
	Dir  string
	Keep bool
	// Nodes is how many nodes, 3 or 5.
	Nodes int
	// Kills is how many times the leader is killed, spread over Duration, which is for how long payments are made at
	// least.
	Kills    int
	Duration time.Duration
	// Clients is how many accounts pay, each one payment at a time.
	Clients int
	// BasePort is the first port; 0 finds free ones.
	BasePort int
}

// DefaultOptions are those of `make run`. Binary is missing.
func DefaultOptions() Options {
	return Options{Nodes: 3, Kills: 2, Duration: 12 * time.Second, Clients: 12}
}

// Validate reports every option that makes no sense.
func (o Options) Validate() error {
	var errs []error
	if o.Nodes != 3 && o.Nodes != 5 {
		errs = append(errs, fmt.Errorf("--nodes is %d: want 3 or 5, so that a majority survives the leader", o.Nodes))
	}
	if o.Kills < 0 || o.Kills > 1000 {
		errs = append(errs, fmt.Errorf("--kills is %d: want 0 to 1000", o.Kills))
	}
	if o.Duration < 100*time.Millisecond || o.Duration > time.Hour {
		errs = append(errs, fmt.Errorf("--duration is %v: want 100ms to 1h", o.Duration))
	}
	if o.Clients < 2 || o.Clients > 1000 {
		errs = append(errs, fmt.Errorf("--clients is %d: want 2 to 1000", o.Clients))
	}
	if most := 65535 - portStep*5; o.BasePort != 0 && (o.BasePort < 1024 || o.BasePort > most) {
		errs = append(errs, fmt.Errorf("--base-port is %d: want 1024 to %d", o.BasePort, most))
	}
	return errors.Join(errs...)
}

// ErrProblems is returned when a run came to its end and something that was promised was not kept. The report says what.
var ErrProblems = errors.New("the cluster did not keep its promise")

// errInterrupted is the cause of a run that was asked to stop.
var errInterrupted = errors.New("interrupted: its nodes are stopped")

// Run makes a cluster, does everything that the package describes, and returns a report. The report is nil only when
// nothing was begun. After an error no process is left; the error is [ErrProblems] or says what could not be done. When
// ctx ends the run does too.
func Run(ctx context.Context, opts Options, screen *Screen) (*Report, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	screen.begin()
	dir := opts.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "baton-demo-"); err != nil {
			return nil, err
		}
	}
	keep := opts.Keep || opts.Dir != ""
	r := &run{opts: opts, screen: screen, dir: dir, report: newReport(opts)}
	err := r.do(ctx)
	screen.wipe()
	if err != nil {
		r.report.Problems = append(r.report.Problems, err.Error())
	}
	problems := len(r.report.Problems)
	r.report.OK = problems == 0
	r.report.Events = screen.history()
	interrupted := ctx.Err() != nil
	if keep || !interrupted && !r.report.OK {
		r.report.Dir = dir // worth a look
	} else if gone := os.RemoveAll(dir); gone != nil {
		err = errors.Join(err, gone)
	}
	switch {
	case interrupted:
		return r.report, errInterrupted
	case err == nil && problems > 0:
		err = fmt.Errorf("%w: %s", ErrProblems, r.report.Problems[0])
		if problems > 1 {
			err = fmt.Errorf("%w; and %d more", err, problems-1)
		}
	}
	screen.summary(r.report)
	return r.report, err
}
