package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
)

// ErrStateDamaged is returned by Run when stored state cannot be read any more (PROTOCOL R25). The node has handed its
// leadership over. The next New does not go on from that state: it executes what it takes again.
var ErrStateDamaged = errors.New("stored state is damaged: the next start makes it anew")

const (
	// mendPatience is how long the work that needs a damaged block waits for it to be mended.
	mendPatience = 30 * time.Second
	mendAgain    = 200 * time.Millisecond
	askPatience  = 2 * time.Second
)

// mender brings back what is damaged of the committed chain (PROTOCOL R25): from what else this node has of a block, or
// from a peer. Nothing counts but the block that the chain above names. What is above the commit is replication's.
type mender struct {
	n    *Node
	wake chan struct{}

	damaged, repaired atomic.Uint64

	mu     sync.Mutex
	wanted map[block.Height]struct{}
	cannot error // the last repair that nobody could help with
}

func newMender(n *Node) *mender {
	return &mender{n: n, wake: make(chan struct{}, 1), wanted: map[block.Height]struct{}{}}
}

// maxWanted bounds the heights that wait for a repair; the scrub finds the others.
const maxWanted = 1 << 16

// found looks whether an error is about damage and starts what mends it. Any goroutine.
func (m *mender) found(err error) bool {
	if stateDamage(err) {
		m.n.stateDamaged(err)
		return true
	}
	damage, ok := errors.AsType[*blockstore.CorruptionError](err)
	if !ok {
		return false
	}
	if damage.Height > m.n.store.Committed().Height {
		return true
	}
	m.mu.Lock()
	if len(m.wanted) < maxWanted {
		m.wanted[damage.Height] = struct{}{}
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// stateDamage reports whether an error says that stored state cannot be read.
func stateDamage(err error) bool {
	if _, ok := errors.AsType[*merkle.CorruptionError](err); ok {
		return true
	}
	damage, ok := errors.AsType[*blockstore.CorruptionError](err)
	return ok && damage.Op == blockstore.OpReadNode
}

// stateGone is stateDamage, where no state that is still in use can have been pruned, and a node that is missing is as bad.
func stateGone(err error) bool {
	return stateDamage(err) || !isDamage(err) && errors.Is(err, blockstore.ErrNotFound)
}

// run mends what readers found.
func (m *mender) run(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-m.wake:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		heights := slices.Sorted(maps.Keys(m.wanted))
		m.mu.Unlock()
		left := false
		for _, h := range slices.Backward(heights) { // each trusts the one above
			if err := m.mend(ctx, h); err != nil && ctx.Err() == nil {
				left = true
				continue
			}
			m.mu.Lock()
			delete(m.wanted, h)
			m.mu.Unlock()
		}
		if left {
			again.Reset(5 * time.Second)
			continue
		}
		m.mu.Lock()
		if len(m.wanted) == 0 {
			m.cannot = nil // what could not be repaired was, or retention let it go
		}
		m.mu.Unlock()
	}
}

// mend checks a committed block and repairs what is wrong with it; blocks above it that it takes to know which one it must
// be are mended first.
func (m *mender) mend(ctx context.Context, h block.Height) error {
	n := m.n
	top := h
	want, err := n.store.TrustedHash(top)
	for top < n.store.Committed().Height && isDamage(err) {
		top++
		want, err = n.store.TrustedHash(top)
	}
	for ; err == nil; top-- {
		if err = m.check(ctx, top, want); err != nil || top == h {
			break
		}
		want, err = n.store.TrustedHash(top - 1)
	}
	if errors.Is(err, blockstore.ErrPruned) {
		return nil
	}
	return err
}

// check looks at a block whose hash is known, and repairs it if need be.
func (m *mender) check(ctx context.Context, h block.Height, want block.Hash) error {
	n := m.n
	b, damage := n.store.CheckBlock(h, want, n.signer[:])
	if damage == nil && h > 0 && n.finals != nil && h <= n.finals.stores() {
		if _, err := n.store.Signature(h); errors.Is(err, blockstore.ErrNotFound) {
			damage = &blockstore.CorruptionError{Op: "check signature", Height: h, Err: err}
			if _, err := n.store.CheckBlock(h, want, n.signer[:]); errors.Is(err, blockstore.ErrPruned) {
				damage = err // all of it went meanwhile
			}
		}
	}
	if !isDamage(damage) {
		return damage
	}
	n.mender.damaged.Add(1)
	f := block.Final{Block: b}
	from := "its own other records"
	var err error
	switch {
	case b != nil:
	case h == 0:
		var err error
		if f.Block, _, err = n.ex.Genesis(nil); err != nil {
			return err
		}
		from = "the genesis file"
	default:
		if f, from, err = m.fetch(ctx, h, want); err != nil {
			err = fmt.Errorf("block %d is damaged here, and no peer gave it: %w (%w)", h, err, damage)
			m.mu.Lock()
			m.cannot = err
			m.mu.Unlock()
			if ctx.Err() == nil {
				n.log.Error().Err(err).Msg("damage cannot be repaired now; it is tried again")
			}
			return err
		}
	}
	if h > 0 {
		f.Signature = block.Sign(n.cfg.ProcessorKey, want) // the one signature that there can be (R12)
	}
	if err := n.store.RepairBlock(f, want); err != nil {
		return err
	}
	m.repaired.Add(1)
	m.mu.Lock()
	m.cannot = nil
	m.mu.Unlock()
	n.log.Warn().Err(damage).Uint64("height", uint64(h)).Stringer("hash", want).Str("from", from).Msg("damaged block repaired")
	return nil
}

// fetch asks the peers, one after the other, for a final block, and says who had it.
func (m *mender) fetch(ctx context.Context, h block.Height, want block.Hash) (block.Final, string, error) {
	n := m.n
	err := errors.New("no peer is connected")
	for _, id := range n.link.Connected() {
		f, e := m.ask(ctx, id, h, want)
		if e == nil {
			return f, id, nil
		}
		err = e
	}
	return block.Final{}, "", err
}

func (m *mender) ask(ctx context.Context, id string, h block.Height, want block.Hash) (f block.Final, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	answer, err := m.n.link.Request(ctx, id, reqFinal, encode(uint64(h), want[:]))
	if err != nil {
		return f, err
	}
	d := newReader(answer, 2)
	enc := d.bytes(block.MaxBlockBytes)
	d.fixed(f.Signature[:])
	if err := d.end(); err != nil {
		return f, err
	}
	if f.Block, err = block.Decode(enc); err != nil {
		return f, err
	}
	if f.Block.Hash() != want || f.Block.Header.Height != h || !block.VerifySignature(m.n.signer[:], want, f.Signature) {
		m.n.log.Error().Str("peer", id).Uint64("height", uint64(h)).Msg("a peer sent another block than the one that was asked for")
		return f, fmt.Errorf("%s sent another block", id)
	}
	return f, nil
}

// serve answers a peer's ask.
func (m *mender) serve(payload []byte) ([]byte, error) {
	d := newReader(payload, 2)
	h := block.Height(d.uint())
	var want block.Hash
	d.fixed(want[:])
	if err := d.end(); err != nil {
		return nil, err
	}
	f, err := m.n.finals.final(h)
	if err != nil {
		return nil, err
	}
	if f.Block.Hash() != want {
		return nil, fmt.Errorf("block %d is another one here", h)
	}
	return encode(f.Block.Encode(), f.Signature[:]), nil
}

// must mends what an error is about, for work that cannot go on without it, and reports whether it is worth trying again.
func (m *mender) must(ctx context.Context, err error) bool {
	damage, ok := errors.AsType[*blockstore.CorruptionError](err)
	if !ok || stateDamage(err) || damage.Height > m.n.store.Committed().Height {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, mendPatience)
	defer cancel()
	for m.mend(ctx, damage.Height) != nil {
		select {
		case <-time.After(mendAgain):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// final reads a final block for a client. One that is damaged here comes from a peer.
func (m *mender) final(ctx context.Context, h block.Height) (block.Final, error) {
	f, err := m.n.finals.final(h)
	if !m.found(err) {
		return f, err
	}
	want, hashErr := m.n.store.TrustedHash(h)
	if hashErr == nil {
		if f, _, err := m.fetch(ctx, h, want); err == nil {
			return f, nil
		}
	}
	return block.Final{}, damagedAnswer()
}

// damagedAnswer is the answer to a request for what is damaged here.
func damagedAnswer() error {
	return &api.Error{
		Status: 503, Code: wire.CodeUnavailable, RetryAfter: time.Second,
		Message: "what this needs is damaged on this node and is being repaired: try again, or ask another node",
	}
}

// readable replaces an error about damage by what a client is told, and starts the repair.
func (m *mender) readable(err error) error {
	if m.found(err) {
		return damagedAnswer()
	}
	return err
}

// text says for the status what could not be repaired.
func (m *mender) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cannot == nil {
		return ""
	}
	return m.cannot.Error()
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*blockstore.CorruptionError](err)
	return ok
}

// stateDamaged ends the node: it hands its leadership over first, and the next start does not use that state.
func (n *Node) stateDamaged(cause error) {
	if n.ctx.Err() != nil {
		return // it is stopping; whoever reads that next finds it again
	}
	n.damageOnce.Do(func() {
		n.mender.damaged.Add(1)
		n.log.Error().Err(cause).Msg("stored state is damaged: this node stops, and makes it anew when it starts again")
		n.wg.Go(func() { // the caller may be in the writer's way
			err := n.store.MarkStateDamaged()
			n.stateLost <- errors.Join(ErrStateDamaged, cause, err)
		})
	})
}

// mendState sees to it that the stored state can be used, if the last run found that it cannot, or this one does: it goes
// back to the newest stored state that is whole, or to genesis where all blocks are there. What came after it is executed
// again by restore.
func (n *Node) mendState(cause error) error {
	all, err := n.store.Checkpoints()
	if err != nil {
		all = nil
	}
	for _, cp := range slices.Backward(all) {
		if cp.Height < n.store.Base() {
			break
		}
		if err := n.store.CheckState(cp); err != nil {
			n.log.Warn().Err(err).Uint64("height", uint64(cp.Height)).Msg("a stored state is damaged")
			continue
		}
		n.log.Warn().AnErr("cause", cause).Uint64("height", uint64(cp.Height)).Msg("damaged state dropped: going on from an older one")
		return n.store.ResetState(&cp)
	}
	if n.store.Base() > 1 {
		return fmt.Errorf("no stored state is whole, and the blocks below %d are gone: this folder cannot be repaired, empty it, "+
			"and the node comes back as a newcomer: %w", n.store.Base(), errors.Join(ErrStateDamaged, cause))
	}
	n.log.Warn().AnErr("cause", cause).Msg("damaged state dropped: all blocks are executed again")
	return n.store.ResetState(nil)
}

// restoreWhole restores what is stored, and mends what keeps it from that: blocks with the help of peers, before this node
// takes part in anything, and state by going back.
func (n *Node) restoreWhole() error {
	marked, err := n.store.StateDamaged()
	if err != nil {
		return err
	}
	copy(n.signer[:], n.cfg.ProcessorKey.Public().(ed25519.PublicKey)) // what restore must find
	if marked {
		if err := n.mendState(nil); err != nil {
			return err
		}
	}
	mended := map[block.Height]bool{}
	for stateOnce := !marked; ; {
		err := n.restore()
		damage, ok := errors.AsType[*blockstore.CorruptionError](err)
		switch {
		case err == nil:
			return nil
		case ok && !stateDamage(err) && !mended[damage.Height] && damage.Height <= n.store.Committed().Height:
			mended[damage.Height] = true
			err = n.mendAlone(damage)
		case stateOnce && (stateGone(err) || errors.Is(err, chain.ErrBadState)):
			stateOnce = false
			err = n.mendState(err)
		}
		if err != nil {
			return err
		}
	}
}

// mendAlone mends a block before the node runs, over a link of its own that serves nothing.
func (n *Node) mendAlone(damage *blockstore.CorruptionError) (err error) {
	n.log.Warn().Err(damage).Msg("a block that the start needs is damaged: asking the other nodes for it")
	if n.link, err = peer.New(n.cfg.Peer, deaf{}, n.log.With().Str("part", "peer").Logger()); err != nil {
		return fmt.Errorf("peer link: %w", err)
	}
	n.link.Start()
	if !n.mender.must(n.ctx, damage) {
		err = fmt.Errorf("%w; %w", damage, n.mender.cannot)
	}
	return errors.Join(err, n.link.Close())
}

// deaf is the handler of a node that only asks.
type deaf struct{}

var errStarting = errors.New("this node is only starting")

func (deaf) HandleMessage(string, byte, []byte) {}
func (deaf) HandleRequest(context.Context, string, byte, []byte) ([]byte, error) {
	return nil, errStarting
}
func (deaf) PeerUp(string)   {}
func (deaf) PeerDown(string) {}
