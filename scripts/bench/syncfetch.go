package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	fastsync "github.com/baton-ha/baton/node/sync"
)

// fetchSync is the process that fetches, and reports what that took.
func fetchSync(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("sync-fetch: URL, plain or state, a path, and bytes or height")
	}
	n, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	var m moved
	if args[1] == "plain" {
		begun := time.Now()
		m.Bytes, err = fetchPlain(ctx, args[0], args[2], n)
		m.Seconds = time.Since(begun).Seconds()
	} else {
		m, err = fetchState(ctx, args[0], args[2], block.Height(n))
	}
	if err != nil {
		return err
	}
	m.PeakKiB, m.CPU = peakMemory(), cpuSeconds()
	return json.NewEncoder(os.Stdout).Encode(m)
}

func fetchPlain(ctx context.Context, url, file string, n uint64) (_ uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/plain?bytes=%d", url, n), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	got, err := io.Copy(f, resp.Body)
	return uint64(got), errors.Join(err, f.Sync()) //nolint:gosec // it is positive
}

func fetchState(ctx context.Context, url, dir string, h block.Height) (m moved, err error) {
	s, err := blockstore.Open(blockstore.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, hash := s.Tip(); hash.IsZero() {
		if err := enqueue(s, blockstore.Batch{Append: []*block.Block{syncGenesis()}}); err != nil {
			return m, err
		}
	}
	begun := time.Now()
	defer func() { m.Seconds = time.Since(begun).Seconds() }()
	c := fastsync.NewClient(fastsync.ClientConfig{
		ChainID: syncChain, Genesis: syncGenesis().Hash(), Key: syncKey().Public().(ed25519.PublicKey),
		Peers: func() []fastsync.Peer { return []fastsync.Peer{{Name: "server", URL: url}} }, Logger: zerolog.New(os.Stderr),
	})
	o, err := c.At(ctx, h)
	if err != nil {
		return m, err
	}
	t, jump, err := c.Transfer(ctx, s, o)
	if err != nil {
		return m, err
	}
	defer t.Close()
	p := c.Progress()
	m.Bytes, m.Nodes = p.Bytes, p.Nodes
	return m, enqueue(s, blockstore.Batch{Jump: jump})
}

// cpuSeconds is how much of the CPU this process has used.
func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// peakMemory is how many KiB of memory this process had at its highest.
func peakMemory() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err == nil {
				return n
			}
		}
	}
	return 0
}
