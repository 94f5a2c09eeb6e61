package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	fastsync "github.com/baton-ha/baton/node/sync"
)

// syncOptions say how large states are moved over what link.
type syncOptions struct {
	dir      string
	accounts string
	mbits    int
	rounds   int
	keep     bool
}

// runSync moves states of several sizes between two processes over one link, whole and where one account in a hundred has
// changed, and compares that with copying as many bytes over the same link into a file.
func runSync(ctx context.Context, args []string) (err error) {
	var o syncOptions
	fs := flag.NewFlagSet("bench sync", flag.ContinueOnError)
	fs.StringVar(&o.accounts, "accounts", "100000,1000000", "numbers of accounts")
	fs.IntVar(&o.mbits, "mbits", 1000, "speed of the link in megabits a second; 0: that of loopback")
	fs.IntVar(&o.rounds, "rounds", 3, "how many rounds; medians of them are reported")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	done, err := dataFolder(&o.dir, "baton-sync-", o.keep)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	for text := range strings.SplitSeq(o.accounts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 100 {
			return fmt.Errorf("--accounts %q: want numbers of at least 100", text)
		}
		if err := benchSync(ctx, &o, n); err != nil {
			return err
		}
	}
	return nil
}

// moved is what one process that fetches reports.
type moved struct {
	Seconds float64
	Bytes   uint64 // on the wire
	Nodes   uint64
	PeakKiB int     // memory at its highest
	CPU     float64 // seconds of it
}

func benchSync(ctx context.Context, o *syncOptions, n int) error {
	home := filepath.Join(o.dir, fmt.Sprint(n))
	source := filepath.Join(home, "source")
	stateBytes, err := makeStates(ctx, source, n)
	if err != nil {
		return fmt.Errorf("make a state of %d accounts: %w", n, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	serve := exec.CommandContext(ctx, self, "sync-serve", source, strconv.Itoa(o.mbits))
	serve.Stderr = os.Stderr
	out, err := serve.StdoutPipe()
	if err != nil {
		return err
	}
	if err := serve.Start(); err != nil {
		return err
	}
	defer func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	fetch := func(args ...string) (m moved, err error) {
		cmd := exec.CommandContext(ctx, self, append([]string{"sync-fetch", strings.TrimSpace(addr)}, args...)...)
		cmd.Stderr = os.Stderr
		answer, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(answer, &m)
		}
		if err != nil {
			return m, fmt.Errorf("fetch %v: %w", args, err)
		}
		return m, nil
	}
	var plain, whole, change []moved
	for round := range o.rounds {
		folder := filepath.Join(home, fmt.Sprint("round", round))
		for i := range 2 {
			if (round+i)%2 == 0 {
				m, err := fetch("plain", filepath.Join(home, "plain"), strconv.FormatUint(stateBytes, 10))
				if err != nil {
					return err
				}
				plain = append(plain, m)
				continue
			}
			m, err := fetch("state", folder, "1")
			if err != nil {
				return err
			}
			whole = append(whole, m)
		}
		m, err := fetch("state", folder, "2")
		if err != nil {
			return err
		}
		change = append(change, m)
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	p, w, c := medianMoved(plain), medianMoved(whole), medianMoved(change)
	fmt.Printf("%d accounts, %.1f MB of state, link of %d Mbit/s, medians of %d rounds\n", n, float64(stateBytes)/1e6, o.mbits, o.rounds)
	fmt.Printf("  plain copy        %7.2f s\n", p.Seconds)
	fmt.Printf("  sync              %7.2f s   %.2f of the copy, %.2f of its bytes, %.1f s of CPU, %d MB of memory at most\n",
		w.Seconds, w.Seconds/p.Seconds, float64(w.Bytes)/float64(stateBytes), w.CPU, w.PeakKiB>>10)
	fmt.Printf("  sync, 1%% changed  %7.2f s   %.3f of the bytes of the whole (%d nodes), %d MB of memory at most\n",
		c.Seconds, float64(c.Bytes)/float64(w.Bytes), c.Nodes, c.PeakKiB>>10)
	return nil
}

func medianMoved(all []moved) moved {
	slices.SortFunc(all, func(a, b moved) int {
		switch {
		case a.Seconds < b.Seconds:
			return -1
		case a.Seconds > b.Seconds:
			return 1
		}
		return 0
	})
	m := all[len(all)/2]
	for _, other := range all {
		m.PeakKiB = max(m.PeakKiB, other.PeakKiB)
	}
	return m
}

const syncChain = "bench"

func syncKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

func syncGenesis() *block.Block {
	return block.New(block.Header{ChainID: syncChain, ChainVersion: "1", StateRoot: merkle.EmptyRoot()}, nil)
}

// entry is an account as the ledger stores one: a key under a prefix, nonce and one balance.
func entry(i, round uint64) merkle.Change {
	rng := rand.New(rand.NewPCG(i, 7))
	key := append(make([]byte, 0, 33), 'a')
	for range 32 {
		key = append(key, byte(rng.Uint32()))
	}
	value := append([]byte{1, byte(round), 1, 6}, "native"...)
	return merkle.Change{Key: key, Value: fmt.Appendf(value, "%012d", rng.Uint64N(1e12)+round)}
}

// makeStates makes a store with the state of two blocks, both stored; in the second one account of a hundred differs. It
// returns how many bytes the nodes of the first have.
func makeStates(ctx context.Context, dir string, n int) (stateBytes uint64, err error) {
	s, err := blockstore.Open(blockstore.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	tip := syncGenesis()
	if err := enqueue(s, blockstore.Batch{Append: []*block.Block{tip}}); err != nil {
		return 0, err
	}
	m := merkle.Empty(s)
	for round := range uint64(2) {
		step := uint64(1)
		if round > 0 {
			step = 100
		}
		var changes []merkle.Change
		for i := uint64(0); i < uint64(n); i += step { //nolint:gosec // it is positive
			if changes = append(changes, entry(i, round)); len(changes) == 50_000 {
				if m, err = m.Update(changes); err != nil {
					return 0, err
				}
				changes = changes[:0]
			}
		}
		if m, err = m.Update(changes); err != nil {
			return 0, err
		}
		m = m.Seal()
		head := tip.Header
		head.Height, head.Parent, head.StateRoot = head.Height+1, tip.Hash(), m.Root()
		tip = block.New(head, nil)
		if err := enqueue(s, blockstore.Batch{
			Append: []*block.Block{tip}, Commit: &blockstore.Commit{Height: head.Height, Hash: tip.Hash()},
			Signed: []blockstore.Signed{{Height: head.Height, Hash: tip.Hash(), Signature: block.Sign(syncKey(), tip.Hash())}},
		}); err != nil {
			return 0, err
		}
		if _, err := s.SaveState(ctx, m, head.Height, tip.Hash()); err != nil {
			return 0, err
		}
		if round == 0 {
			if err := m.Walk(nil, nil, func(_, enc []byte) bool { stateBytes += uint64(len(enc)); return true }); err != nil {
				return 0, err
			}
		}
	}
	return stateBytes, nil
}

func enqueue(s *blockstore.Store, b blockstore.Batch) error {
	done := make(chan error, 1)
	s.Enqueue(b, func(err error) { done <- err })
	return <-done
}

// serveSync is the process that serves both: a store, and as many bytes as one wants.
func serveSync(ctx context.Context, args []string) (err error) {
	if len(args) != 2 {
		return errors.New("sync-serve: a folder and a speed")
	}
	mbits, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s, err := blockstore.Open(blockstore.Options{Dir: args[0], Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	log := zerolog.New(os.Stderr)
	server := fastsync.NewServer(fastsync.ServerConfig{Store: s, ChainID: syncChain, Genesis: syncGenesis().Hash(), Logger: log})
	mux := http.NewServeMux()
	mux.Handle("/sync/", server)
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte(rand.Uint32())
	}
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		left, err := strconv.Atoi(r.URL.Query().Get("bytes"))
		for err == nil && left > 0 {
			var sent int
			sent, err = w.Write(chunk[:min(left, len(chunk))])
			left -= sent
		}
	})
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = h.Close() })
	if err := h.Serve(&slowListener{l, &slowLink{perSec: float64(mbits) * 1e6 / 8}}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return server.Close()
}

// slowListener makes connections that share a link.
type slowListener struct {
	net.Listener
	link *slowLink
}

func (l *slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &slowConn{c, l.link}, err
}

type slowConn struct {
	net.Conn
	link *slowLink
}

func (c *slowConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), 32<<10)]
		c.link.take(len(part))
		var sent int
		sent, err = c.Conn.Write(part)
		n += sent
		b = b[sent:]
	}
	return n, err
}

// slowLink lets so many bytes a second through.
type slowLink struct {
	perSec float64
	mu     sync.Mutex
	free   time.Time
}

func (l *slowLink) take(n int) {
	if l.perSec <= 0 {
		return
	}
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.perSec * float64(time.Second)))
	wait := l.free.Sub(now) - 2*time.Millisecond // what a switch has room for
	l.mu.Unlock()
	if wait > 0 {
		t := time.NewTimer(wait)
		<-t.C
	}
}

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
