package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/chain"
)

const senders = 512

// world is a chain with a store.
type world struct {
	dir    string
	keys   []ed25519.PrivateKey
	nonces []uint64
	proc   ed25519.PrivateKey
	gen    *chain.Genesis
	ex     *chain.Executor
	store  *blockstore.Store
	limits node.Limits
	st     *chain.State
}

func seeded(kind byte, i uint64) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = kind
	binary.BigEndian.PutUint64(seed[8:], i)
	return ed25519.NewKeyFromSeed(seed)
}

func public(k ed25519.PrivateKey) (p chain.PublicKey) {
	copy(p[:], k.Public().(ed25519.PublicKey))
	return p
}

func newWorld(o options) (*world, error) {
	dir, err := os.MkdirTemp(o.dir, "bench-state-*")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, proc: seeded(1, 0), limits: node.DefaultLimits()}
	w.limits.CacheBytes, w.limits.StateCacheBytes = o.cache<<20, o.stateCache<<20
	w.gen = &chain.Genesis{
		ChainID: "bench", ChainVersion: chain.LedgerVersion, Created: time.Unix(1_700_000_000, 0).UTC(),
		Processor: chain.Processor{PublicKey: public(w.proc)}, Balances: map[chain.PublicKey]map[string]chain.Amount{},
	}
	for i := range uint64(senders) {
		k := seeded(2, i)
		w.keys = append(w.keys, k)
		w.gen.Balances[public(k)] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1 << 40)}
	}
	w.nonces = make([]uint64, senders)
	if w.ex, err = chain.New(w.gen, chain.Ledger{}); err != nil {
		return nil, err
	}
	return w, w.open()
}

func (w *world) open() (err error) {
	w.store, err = blockstore.Open(blockstore.Options{Dir: filepath.Join(w.dir, "data"), Logger: zerolog.Nop(), CacheBytes: w.limits.CacheBytes})
	return err
}

func (w *world) mapOptions() []merkle.Option {
	return []merkle.Option{
		merkle.WithCacheBytes(w.limits.StateCacheBytes), merkle.WithSeal(int(w.limits.CheckpointEvery), w.limits.CheckpointBytes),
	}
}

func (w *world) enqueue(b blockstore.Batch) error {
	done := make(chan error, 1)
	w.store.Enqueue(b, func(err error) { done <- err })
	return <-done
}

// account is the i-th account that is there from the start: its key needs no private one.
func account(i uint64) (p chain.PublicKey) {
	rng := rand.NewPCG(i, 7)
	for j := 0; j < len(p); j += 8 {
		binary.BigEndian.PutUint64(p[j:], rng.Uint64())
	}
	return p
}

// genesis stores block 0.
func (w *world) genesis() (*block.Block, *chain.State, error) {
	zero, st, err := w.ex.Genesis(w.store, w.mapOptions()...)
	if err != nil {
		return nil, nil, err
	}
	return zero, st, w.enqueue(blockstore.Batch{Append: []*block.Block{zero}})
}

// fill puts n accounts into the state after genesis, checkpoint by checkpoint.
func (w *world) fill(ctx context.Context, n int, cold bool) error {
	zero, st, err := w.genesis()
	if err != nil {
		return err
	}
	m := st.Map()
	value, ok, err := m.Get(chain.AccountKey(public(w.keys[0])))
	if err != nil || !ok {
		return fmt.Errorf("no account to copy: %w", err)
	}
	keys := make([]chain.PublicKey, n)
	for i := range keys {
		keys[i] = account(uint64(i))
	}
	slices.SortFunc(keys, func(a, b chain.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	for len(keys) > 0 {
		part := keys[:min(20_000, len(keys))]
		keys = keys[len(part):]
		changes := make([]merkle.Change, 0, len(part))
		for _, k := range part {
			changes = append(changes, merkle.Change{Key: chain.AccountKey(k), Value: value})
		}
		if m, err = m.Update(changes); err != nil {
			return err
		}
		if len(keys) == 0 {
			m = m.Seal()
		}
		if m.Sealed() {
			if _, err := w.store.SaveState(ctx, m, 0, zero.Hash()); err != nil {
				return err
			}
			if err := w.prune(1); err != nil {
				return err
			}
		}
	}
	if err := w.store.Close(); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	if err := w.load(); err != nil || cold {
		return err
	}
	return w.st.Map().Warm(func() error { return ctx.Err() })
}

func (w *world) prune(keep int) error {
	for more := true; more; {
		var err error
		if more, err = w.store.PruneState(keep, w.store.Committed().Height); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) load() error {
	cp, ok := w.store.Checkpoint()
	if !ok {
		return errors.New("no checkpoint")
	}
	b, err := w.store.Block(cp.Height)
	if err != nil {
		return err
	}
	w.st, err = chain.LoadState(w.store, cp.Root, cp.RootNode, cp.Height, cp.Hash, b.Header.TimeMs, w.mapOptions()...)
	return err
}

// transfers makes and parses the next transactions; the signature is checked here and so not in Build.
func (w *world) transfers(n int, to func() chain.PublicKey) ([]*chain.Tx, error) {
	txs, errs := make([]*chain.Tx, n), make([]error, n)
	payloads := make([][]byte, n)
	for i := range txs {
		s := i % senders
		payloads[i] = fmt.Appendf(nil, `{"chain_id":"bench","public_key":"%s","nonce":%d,"messages":[{"type":"transfer","to":"%s","asset":"native","amount":"1"}]}`,
			public(w.keys[s]), w.nonces[s], to())
		w.nonces[s]++
	}
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			for i := part; i < n; i += 2 {
				txs[i], errs[i] = w.ex.Parse(block.SignTx(w.keys[i%senders], payloads[i]))
			}
		})
	}
	wg.Wait()
	return txs, errors.Join(errs...)
}

// build executes one block and appends it; answered is called after its fsync.
func (w *world) build(txs []*chain.Tx, answered func(error)) (*chain.State, error) {
	b, next, _, err := w.ex.Build(w.st, chain.BuildSpec{Proposer: "node1", Term: 1, NowMs: time.Now().UnixMilli()}, txs)
	if err != nil {
		return nil, err
	}
	if b == nil || len(b.Txs) != len(txs) {
		return nil, errors.New("a transaction was refused")
	}
	h, hash := b.Header.Height, b.Hash()
	w.store.Enqueue(blockstore.Batch{Append: []*block.Block{b}}, nil)
	w.store.Enqueue(blockstore.Batch{
		Commit: &blockstore.Commit{Height: h, Hash: hash, CTerm: 1, From: h},
		Signed: []blockstore.Signed{{Height: h, Hash: hash, Signature: block.Sign(w.proc, hash)}}, NoSync: true,
	}, answered)
	w.st = next
	return next, nil
}

// measure fills a store, then does what it is told: a number of transactions to execute, or "end".
func measure(ctx context.Context, o options, n int) (err error) {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.store.Close(), os.RemoveAll(w.dir)) }()
	r, t := &result{}, time.Now()
	if err := w.fill(ctx, n, o.cold); err != nil {
		return err
	}
	r.FillSeconds = since(t)
	out := json.NewEncoder(os.Stdout)
	if err := errors.Join(resetPeak(), out.Encode(slice{})); err != nil {
		return err
	}
	stop, err := profile(o.profile, n)
	if err != nil {
		return err
	}
	e := newExecution(w, n)
	if err := errors.Join(e.serve(ctx, o, out), stop(), e.report(r), w.proofs(n, r)); err != nil {
		return err
	}
	return out.Encode(r)
}

// serve executes what standard input asks for.
func (e *execution) serve(ctx context.Context, o options, out *json.Encoder) error {
	for in := bufio.NewScanner(os.Stdin); in.Scan() && in.Text() != "end"; {
		txs, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		s, err := e.slice(ctx, txs, o.blockTxs)
		if err != nil {
			return err
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// execution executes transactions to accounts drawn from all.
type execution struct {
	w        *world
	to       func() chain.PublicKey
	txs      int
	disk     int64 // bytes written up to the first slice
	parts    blockstore.Written
	started  bool
	inFlight chan struct{} // blocks that wait for their fsync
}

func newExecution(w *world, n int) *execution {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	return &execution{
		w: w, to: func() chain.PublicKey { return account(rng.Uint64N(uint64(n))) }, inFlight: make(chan struct{}, 4),
	}
}

// slice executes some transactions.
func (e *execution) slice(ctx context.Context, txs, blockTxs int) (s slice, err error) {
	all, err := e.w.transfers(txs, e.to)
	if err != nil {
		return s, err
	}
	runtime.GC() // of what making them left
	if !e.started {
		e.started, e.parts = true, e.w.store.Written()
		if e.disk, err = written(); err != nil {
			return s, err
		}
	}
	cpu, t := cpuSeconds(), time.Now()
	if err := e.execute(ctx, all, blockTxs); err != nil {
		return s, err
	}
	s.Wall, s.Txs = since(t), len(all)
	e.txs += len(all)
	const step = 20 * time.Millisecond
	for before := cpuSeconds(); ; before = cpuSeconds() { // compactions go on for a while
		time.Sleep(step)
		if cpuSeconds()-before < step.Seconds()/20 {
			break
		}
	}
	s.CPU = cpuSeconds() - cpu
	return s, nil
}

func (e *execution) execute(ctx context.Context, txs []*chain.Tx, blockTxs int) error {
	checkpoints, failed := make(chan *chain.State, 1), make(chan error, 1)
	go func() {
		defer close(failed)
		for st := range checkpoints {
			_, err := e.w.store.SaveState(ctx, st.Map(), st.Height(), st.BlockHash())
			if err == nil {
				err = e.w.prune(4)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for ; len(txs) > 0; txs = txs[min(blockTxs, len(txs)):] {
		select {
		case e.inFlight <- struct{}{}:
		case err := <-failed:
			return err
		}
		st, err := e.w.build(txs[:min(blockTxs, len(txs))], func(error) { <-e.inFlight })
		if err != nil {
			return err
		}
		if st.Map().Sealed() {
			select {
			case checkpoints <- st: // waits while the one before the last is written, as a node does when memory fills up
			case err := <-failed:
				return err
			}
		}
	}
	close(checkpoints)
	for range cap(e.inFlight) {
		e.inFlight <- struct{}{}
	}
	for range cap(e.inFlight) {
		<-e.inFlight
	}
	return <-failed
}

// report fills in what all slices together took.
func (e *execution) report(r *result) (err error) {
	if r.PeakMB, err = peakMB(); err != nil {
		return err
	}
	disk, err := written()
	if err != nil {
		return err
	}
	u, err := e.w.store.DiskUsage()
	if err != nil {
		return err
	}
	r.StoreMB, r.CacheMB = float64(u.StoreBytes)/(1<<20), float64(e.w.st.Map().CachedBytes())/(1<<20)
	r.DiskPerTx = float64(disk-e.disk) / float64(e.txs)
	parts := e.w.store.Written()
	perTx := func(now, before uint64) float64 { return float64(now-before) / float64(e.txs) }
	r.LogPerTx, r.MarkPerTx = perTx(parts.Log, e.parts.Log), perTx(parts.Mark, e.parts.Mark)
	r.FlushPerTx, r.CompactPerTx = perTx(parts.Flushed, e.parts.Flushed), perTx(parts.Compacted, e.parts.Compacted)
	return nil
}

// proofs makes and checks proofs of accounts drawn from all.
func (w *world) proofs(n int, r *result) error {
	const count = 2000
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	m, root := w.st.Map(), w.st.Map().Root()
	all := make([][][]byte, count)
	keys := make([][]byte, count)
	t := time.Now()
	for i := range all {
		var err error
		keys[i] = chain.AccountKey(account(rng.Uint64N(uint64(n))))
		if all[i], err = m.Prove(keys[i]); err != nil {
			return err
		}
	}
	r.ProveMicros = 1e6 * since(t) / count
	t = time.Now()
	for i, p := range all {
		if _, ok, err := merkle.VerifyProof(root, keys[i], p); err != nil || !ok {
			return fmt.Errorf("proof %d: %t %w", i, ok, err)
		}
		r.ProofBytes += float64(len(bytes.Join(p, nil))) / count
	}
	r.CheckMicros = 1e6 * since(t) / count
	return nil
}

// profile starts a CPU profile, if one is wanted, and returns what ends it.
func profile(name string, n int) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name + strconv.Itoa(n))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// written is how many bytes this process has made the kernel write.
func written() (int64, error) { return procField("/proc/self/io", "write_bytes:") }

// resetPeak makes the kernel count the peak of this process's memory from now on.
func resetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func peakMB() (float64, error) {
	kb, err := procField("/proc/self/status", "VmHWM:")
	return float64(kb) / 1024, err
}

func procField(path, name string) (v int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), name); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
