package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	nodesync "github.com/baton-ha/baton/node/sync"
	"github.com/baton-ha/baton/raftify/core"
)

// ErrPinned is returned by New and Run when the chain of this node, or the one that it is offered, does not have the
// pinned block.
var ErrPinned = errors.New("the chain contradicts the pinned block (sync.pin)")

// syncer brings the state of others here when blocks alone would take too long, or do not suffice, and has the chain jump
// to it. Everything before the jump goes on beside the node's other work; a crash in it loses nothing that was verified.
type syncer struct {
	n      *Node
	client *nodesync.Client
	wake   chan struct{}

	mu    sync.Mutex
	links map[string]*http.Client // to members, by id
	jumps uint64                  // how often this node took a state over
	need  block.Height            // somebody has no blocks below this, and this node would need some
	busy  bool
	told  time.Time // when an operator was told last that blocks do not suffice
}

const (
	syncLook       = 500 * time.Millisecond // how often a node looks whether it is far behind
	syncHold       = 2                      // for how many looks at a leader that is not far ahead blocks are not fetched at first
	syncRetryLeast = time.Second
	syncRetryMost  = 30 * time.Second
	syncSay        = 2 * time.Second // a line of progress
	certifyEvery   = 200 * time.Millisecond
	certifyWait    = 5 * time.Second
	toldEvery      = time.Minute
)

func newSyncer(n *Node) *syncer {
	s := &syncer{n: n, wake: make(chan struct{}, 1), links: map[string]*http.Client{}}
	cfg := n.cfg.Sync
	s.client = nodesync.NewClient(nodesync.ClientConfig{
		ChainID: n.cfg.Genesis.ChainID, Genesis: n.finals.genesis.Hash(), Key: n.signer[:],
		Pin: nodesync.Pin{Height: cfg.Pin.Height, Hash: cfg.Pin.Hash}, Peers: s.peers,
		Logger: n.log.With().Str("part", "sync").Logger(),
	})
	return s
}

// peers are the members, over the peer port, and the sources of the configuration.
func (s *syncer) peers() []nodesync.Peer {
	n := s.n
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []nodesync.Peer
	for _, p := range *n.peerSet.Load() {
		if p.ID == n.cfg.ID {
			continue
		}
		if s.links[p.ID] == nil {
			s.links[p.ID] = nodesync.LinkClient(func(ctx context.Context) (net.Conn, error) {
				return n.link.Dial(ctx, p.ID, nodesync.ALPN)
			})
		}
		out = append(out, nodesync.Peer{Name: p.ID, URL: "https://peer", Client: s.links[p.ID], Member: true})
	}
	for _, url := range n.cfg.Sync.Sources {
		out = append(out, nodesync.Peer{Name: url, URL: url})
	}
	return out
}

// pruned notes that a peer has no blocks below base any more, which this node would need. Owner loop.
func (s *syncer) pruned(base block.Height, peer string) {
	s.mu.Lock()
	s.need = max(s.need, base)
	tell := !s.mayJump() && time.Since(s.told) >= toldEvery
	if tell {
		s.told = time.Now()
	}
	s.mu.Unlock()
	if tell {
		s.n.log.Error().Str("peer", peer).Uint64("base", uint64(base)).Stringer("mode", s.n.cfg.Sync.Mode).
			Msg("blocks that this node needs are gone there; if all others have pruned them, only sync.mode state can bring this node back")
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// mayJump reports whether the mode allows this node to jump where it stands now.
func (s *syncer) mayJump() bool {
	switch s.n.cfg.Sync.Mode {
	case SyncState:
		return true
	case SyncFrom:
		return s.n.finals.height() == 0
	case SyncBlock, SyncArchive:
	}
	return false
}

// progress returns how far a transfer is, whether one is under way, and how many came to an end.
func (s *syncer) progress() (p nodesync.Progress, busy bool, jumps uint64) {
	s.mu.Lock()
	busy, jumps = s.busy, s.jumps
	s.mu.Unlock()
	return s.client.Progress(), busy, jumps
}

func (s *syncer) run(ctx context.Context) {
	defer func() {
		for _, c := range s.links {
			c.CloseIdleConnections()
		}
	}()
	retry := syncRetryLeast
	timer := time.NewTimer(syncLook)
	defer timer.Stop()
	// Who has nothing waits with fetching blocks until it is known whether a state is the better way.
	holding, led := s.n.finals.height() == 0 && s.mayJump(), 0
	if holding {
		s.hold(true)
	}
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		wait, wanted := syncLook, s.wanted()
		if s.n.view.Load().leader != "" {
			led++
		}
		if wanted || led > syncHold {
			if holding && !wanted {
				s.hold(false)
			}
			holding = false
		}
		if wanted {
			switch err := s.catchUp(ctx); {
			case err == nil:
				retry = syncRetryLeast
			case ctx.Err() != nil:
				return
			case errors.Is(err, nodesync.ErrPinned):
				s.n.fail(fmt.Errorf("%w: %w", ErrPinned, err))
				return
			case errors.Is(err, blockstore.ErrFailed), errors.Is(err, ErrWrongKey):
				s.n.fail(err)
				return
			default:
				if !errors.Is(err, errNotWorth) {
					s.n.log.Warn().Err(err).Dur("again_in", retry).Msg("sync: no state could be taken over")
				}
				wait, retry = retry, min(2*retry, syncRetryMost)
			}
		}
		timer.Reset(wait)
	}
}

// wanted reports whether this node is a member that follows others, and lacks so much that a state may be the better way:
// more blocks than it would execute again at a restart, or such as somebody has no more.
func (s *syncer) wanted() bool {
	n := s.n
	v := n.view.Load()
	if v.role == core.RoleLeader || v.members < 2 || !s.mayJump() {
		return false
	}
	own := n.finals.height()
	if n.cfg.Sync.Mode == SyncFrom {
		return s.highest() >= n.cfg.Sync.From
	}
	return s.needs(own) || s.highest() > own+n.cfg.Limits.CheckpointEvery
}

// needs reports whether somebody has pruned blocks that a node whose chain is final up to own would have to get.
func (s *syncer) needs(own block.Height) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.need > own+1
}

// highest is the greatest final height that any other node is known to have.
func (s *syncer) highest() block.Height {
	h := s.n.view.Load().leaderHeight
	for _, p := range *s.n.peerSet.Load() {
		h = max(h, s.n.outlook.height(p.ID))
	}
	return h
}

// errNotWorth says that blocks are the better way, or the only one.
var errNotWorth = errors.New("blocks are the better way")

// catchUp takes one state over.
func (s *syncer) catchUp(ctx context.Context) (err error) {
	n := s.n
	defer s.await(false) // also what was waited with at first
	offer, err := s.offer(ctx)
	if err != nil {
		return fmt.Errorf("look for a state: %w", err)
	}
	if err := s.weigh(offer); err != nil {
		return err
	}
	s.await(true)
	h := uint64(offer.Final.Block.Header.Height)
	n.log.Info().Uint64("height", h).Uint64("own_height", uint64(n.finals.height())).Strs("from", offer.Peers).
		Msg("sync: taking a state over")
	began := time.Now()
	done := make(chan struct{})
	defer close(done)
	n.wg.Go(func() { s.say(done) })
	tr, j, err := s.client.Transfer(ctx, n.store, offer)
	if err != nil {
		return fmt.Errorf("transfer the state of block %d: %w", h, err)
	}
	defer tr.Close()
	if err := s.land(ctx, j); err != nil {
		return err
	}
	p := s.client.Progress()
	n.log.Info().Uint64("height", uint64(j.Final.Block.Header.Height)).Uint64("bytes", p.Bytes).Uint64("nodes", p.Nodes).
		Dur("took", time.Since(began)).Msg("sync: state taken over, following by blocks from here")
	return nil
}

func (s *syncer) offer(ctx context.Context) (nodesync.Offer, error) {
	if s.n.cfg.Sync.Mode == SyncFrom {
		return s.client.At(ctx, s.n.cfg.Sync.From)
	}
	return s.client.Newest(ctx)
}

// await has no blocks fetched meanwhile, and the status say that this node is at it.
func (s *syncer) await(on bool) {
	s.mu.Lock()
	s.busy = on
	s.mu.Unlock()
	s.hold(on)
}

// hold tells the chain not to fetch blocks.
func (s *syncer) hold(on bool) {
	s.n.raft.Post(func(now core.Instant, c *core.Core) {
		s.n.ch.AwaitState(now, on)
		c.Poke(now)
	})
}

// landed counts a state that this node goes on from.
func (s *syncer) landed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jumps++
}

// say logs how far it is.
func (s *syncer) say(done <-chan struct{}) {
	tick := time.NewTicker(syncSay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p := s.client.Progress()
			s.n.log.Info().Uint64("height", uint64(p.Height)).Float64("done", p.Done).Uint64("bytes", p.Bytes).
				Uint64("pieces", p.Pieces).Uint64("known", p.Known).Float64("bytes_per_second", p.BytesPerSecond).
				Dur("remaining", p.Remaining).Msg("sync: state on its way")
		case <-done:
			return
		}
	}
}

// land jumps to a state that is all here. A node that leads or stands for election when it is done waits a little for the
// end of that.
func (s *syncer) land(ctx context.Context, j *blockstore.Jump) error {
	n := s.n
	ref := replication.Ref{Height: j.Final.Block.Header.Height, Hash: j.Final.Block.Hash()}
	cterm, err := s.certify(ctx, ref)
	if err != nil {
		return err
	}
	j.Final.CTerm = uint64(cterm)
	l, err := n.newLeap(j)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*n.cfg.Raftify.Timings().MinElection)
	defer cancel()
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		err := n.jump(ctx, l)
		if !errors.Is(err, replication.ErrMayNotJump) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// certify returns the term of a certificate for a block's height: what this node has heard, or what a member has on its
// disk. The signature says that the block is final, but not which leader counted its commit, and that decides how much the
// own chain is worth (PROTOCOL R11). Only members of the same cluster are asked: no other's word counts.
func (s *syncer) certify(ctx context.Context, ref replication.Ref) (core.Term, error) {
	n := s.n
	ctx, cancel := context.WithTimeout(ctx, certifyWait)
	defer cancel()
	for {
		heard := make(chan core.Term, 1)
		if !n.raft.Do(func(core.Instant, *core.Core) { heard <- n.ch.CertificateOf(ref) }) {
			return 0, context.Canceled
		}
		best := core.Term(0)
		select {
		case best = <-heard:
		case <-ctx.Done():
		}
		for _, id := range n.link.Connected() {
			answer, err := n.link.Request(ctx, id, reqCertificate, encodeFetch(replication.Fetch{To: ref}, n.raft.Status().ClusterID))
			if err != nil {
				n.log.Debug().Err(err).Str("peer", id).Stringer("block", ref).Msg("sync: ask for a certificate")
				continue
			}
			d := newReader(answer, 1)
			if t := core.Term(d.uint()); d.end() == nil {
				best = max(best, t)
			}
		}
		if best > 0 {
			return best, nil
		}
		select {
		case <-time.After(certifyEvery):
		case <-ctx.Done():
			return 0, fmt.Errorf("no member has a certificate of block %v", ref)
		}
	}
}

// serveCertificate answers a peer's certify.
func (n *Node) serveCertificate(payload []byte) ([]byte, error) {
	f, cluster, err := decodeFetch(payload)
	if err != nil {
		return nil, err
	}
	if err := n.sameCluster(cluster); err != nil {
		return nil, err
	}
	// Only up to the commit do a hash and a certificate, read one after the other, surely belong together.
	if f.To.Height > n.store.Committed().Height {
		return nil, fmt.Errorf("block %d is not committed here", f.To.Height)
	}
	hash, err := n.store.HashAt(f.To.Height)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	if hash != f.To.Hash {
		return nil, fmt.Errorf("block %d is another one here", f.To.Height)
	}
	cterm, err := n.store.CTermAt(f.To.Height)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	return encode(cterm), nil
}

// sameCluster refuses what comes from another cluster, whatever its keys and genesis (PROTOCOL R3).
func (n *Node) sameCluster(cluster core.ClusterID) error {
	if own := n.raft.Status().ClusterID; cluster != own || own == (core.ClusterID{}) {
		return fmt.Errorf("request of cluster %v: %w %v", cluster, errOtherCluster, own)
	}
	return nil
}
