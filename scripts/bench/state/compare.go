package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// slice is what some transactions took. Wall is the time until all of them were durable and the checkpoints that fell due
// written; CPU is what the process used until it was quiet again.
type slice struct {
	Txs       int
	Wall, CPU float64 // seconds
}

// child is a process that measures one size, a slice at a time.
type child struct {
	accounts int
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *json.Decoder
	sum      slice
}

// compare runs a process for each size. They take turns, so that whatever else the machine does falls on all alike.
func compare(ctx context.Context, o options) (err error) {
	var all []*child
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.in.Close(), c.cmd.Wait())
		}
	}()
	for _, text := range strings.Split(o.accounts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		c, err := startChild(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d accounts: %w", n, err)
		}
		all = append(all, c)
	}
	for done := 0; done < o.txs; done += o.slice {
		for _, c := range all {
			if err := c.turn(o.slice); err != nil {
				return fmt.Errorf("%d accounts: %w", c.accounts, err)
			}
		}
	}
	fmt.Printf("%10s %8s %6s %8s %6s %7s %8s %8s %9s %6s %6s %6s %7s %8s %8s %8s %8s\n", "accounts", "tx/s", "ratio", "cpu/tx", "ratio", "fill s",
		"peak MB", "cache MB", "B/tx disk", "log", "mark", "flush", "compact", "store MB", "proof B", "make us", "check us")
	first := all[0].sum
	for _, c := range all {
		var r result
		if err := c.ask("end", &r); err != nil {
			return fmt.Errorf("%d accounts: %w", c.accounts, err)
		}
		fmt.Printf("%10d %8.0f %6.2f %6.1fus %6.2f %7.0f %8.0f %8.0f %9.0f %6.0f %6.0f %6.0f %7.0f %8.0f %8.0f %8.0f %8.0f\n", c.accounts,
			float64(c.sum.Txs)/c.sum.Wall, first.Wall/c.sum.Wall, 1e6*c.sum.CPU/float64(c.sum.Txs), first.CPU/c.sum.CPU, r.FillSeconds,
			r.PeakMB, r.CacheMB, r.DiskPerTx, r.LogPerTx, r.MarkPerTx, r.FlushPerTx, r.CompactPerTx, r.StoreMB, r.ProofBytes, r.ProveMicros, r.CheckMicros)
	}
	return nil
}

// startChild starts the process for one size and waits until its store is filled.
func startChild(ctx context.Context, o options, n int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{accounts: n}
	c.cmd = exec.CommandContext(ctx, self, "--child", strconv.Itoa(n), "--dir", o.dir, "--cache-mb", strconv.FormatInt(o.cache, 10),
		"--state-cache-mb", strconv.FormatInt(o.stateCache, 10), "--cold="+strconv.FormatBool(o.cold),
		"--block-txs", strconv.Itoa(o.blockTxs), "--profile", o.profile)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	return c, c.out.Decode(&slice{})
}

func (c *child) ask(what string, answer any) error {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return err
	}
	return c.out.Decode(answer)
}

func (c *child) turn(txs int) error {
	var s slice
	if err := c.ask(strconv.Itoa(txs), &s); err != nil {
		return err
	}
	c.sum.Txs += s.Txs
	c.sum.Wall += s.Wall
	c.sum.CPU += s.CPU
	return nil
}

// cpuSeconds is what this process has used, of all its threads.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
