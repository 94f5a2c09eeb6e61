package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/node/replication"
	nodesync "github.com/baton-ha/baton/node/sync"
	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// Node is one processor. Make it with New, then Run it once. Several may live in one process.
type Node struct {
	cfg    Config
	log    zerolog.Logger
	start  time.Time
	signer [32]byte

	store   *blockstore.Store
	ex      *chain.Executor
	states  *states
	finals  *finals
	raft    *raftify.Node
	link    *peer.Link
	server  *api.Server
	admin   *api.Admin
	metrics *metrics
	mutant  mutant
	voice   atomic.Pointer[raftify.Node] // raft, for fail, which may come before there is one
	hub     *hub

	engine      *engine
	finalizer   *finalizer
	checkpoints *checkpoints
	router      *router
	fetches     *fetches
	health      *health
	mender      *mender
	scrubber    *scrubber
	syncer      *syncer
	elsewhere   *elsewhere
	syncServer  *nodesync.Server
	readers     atomic.Pointer[addrOf] // where readers are served
	damageOnce  sync.Once
	stateLost   chan error // ErrStateDamaged, once

	// Of the owner loop.
	ch          *replication.Chain
	queuedFinal block.Height
	leap        *leap       // to be written in this step, nil otherwise
	seen        core.Config // whose members the rest of the node was told of
	syncs       syncLog

	view    atomic.Pointer[view]
	known   atomic.Pointer[[]peer.Peer] // the configured peers; a list is never changed
	peerSet atomic.Pointer[[]peer.Peer] // see peers
	reload  sync.Mutex                  // one change of the configuration at a time
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	fatal   chan error
	up      chan struct{} // closed when the API listens

	outlook *outlook
	reigns  reigns

	mu sync.Mutex
	// strangers are the peers that were asked for their chain, with what is wrong with it; see compareGenesis.
	strangers map[string]string
	changed   chan struct{} // closed and replaced when this node's part in the election changes
}

// New opens the data folder, brings the state of the stored tip into memory, makes this start durable and listens. It
// fails with blockstore.ErrInUse, a *blockstore.CorruptionError, ErrWrongChain, ErrWrongKey or what the parts report.
func New(cfg Config) (_ *Node, err error) {
	if err := errors.Join(cfg.Limits.Validate(), cfg.Retention.Validate(), cfg.Scrub.Validate(), cfg.Sync.Validate()); err != nil {
		return nil, err
	}
	if cfg.Sync.Mode == SyncArchive {
		if cfg.Retention.Blocks > 0 {
			return nil, errors.New("sync mode archive keeps all blocks: retention.blocks and retention.receipts must be 0")
		}
		cfg.Retention.Checkpoints = 0
	}
	if cfg.Genesis == nil || cfg.ProcessorKey == nil {
		return nil, errors.New("a node needs a genesis and the processor key")
	}
	apps := cfg.Apps
	if len(apps) == 0 {
		apps = []chain.App{chain.Ledger{}}
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, start: time.Now(), hub: &hub{}, fatal: make(chan error, 1), stateLost: make(chan error, 1),
		up: make(chan struct{}), strangers: map[string]string{}, changed: make(chan struct{}),
	}
	n.syncs.log = cfg.Logger
	n.known.Store(&cfg.Peer.Peers)
	n.reigns.note("", 0, n.start)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.view.Store(&view{})
	var undo []func()
	defer func() {
		if err != nil {
			n.cancel()
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	if n.ex, err = chain.New(cfg.Genesis, apps...); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	n.store, err = blockstore.Open(blockstore.Options{
		Dir: cfg.DataDir, Logger: cfg.Logger, CacheBytes: cfg.Limits.CacheBytes, Fatal: n.fail,
	})
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	undo = append(undo, func() { _ = n.store.Close() })
	if n.store.Import() == blockstore.Importing {
		return nil, fmt.Errorf("data folder %s: %w", cfg.DataDir, blockstore.ErrImporting)
	}
	n.mender = newMender(n)
	if err = n.restoreWhole(); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	if err = n.checkPin(); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	if err = n.makeParts(); err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = n.link.Close() })
	if err = n.failable(); err != nil {
		return nil, err
	}
	return n, nil
}

// failable has fail silence the election from now on, and returns what failed before.
func (n *Node) failable() error {
	n.voice.Store(n.raft)
	select {
	case err := <-n.fatal:
		return err
	default:
		return nil
	}
}

// restore brings back what is stored.
func (n *Node) restore() error {
	all, zero, err := restore(n.store, n.ex, n.cfg.Limits, n.log)
	if err != nil {
		return err
	}
	n.states = all
	committed := n.store.Committed()
	st := all.get(committed.Hash)
	if committed.Height == 0 {
		st = all.get(zero.Hash())
	}
	if st == nil {
		return fmt.Errorf("no state of the committed block %d", committed.Height)
	}
	if err := verifyOwnKey(n.cfg.ProcessorKey, st.ProcessorKey()); err != nil {
		return err
	}
	copy(n.signer[:], st.ProcessorKey())
	if err := n.signMissing(committed.Height); err != nil {
		return err
	}
	n.finals = newFinals(n.store, zero, st)
	n.queuedFinal = st.Height()
	return nil
}

// signMissing signs the newest committed blocks again that lost their signatures in a crash: these have no fsync of
// their own (PROTOCOL R12).
func (n *Node) signMissing(committed block.Height) error {
	if h, hash := n.store.SignerRecord(); h > 0 {
		if have, err := n.store.HashAt(h); err != nil || have != hash {
			return fmt.Errorf("%w: signed %d/%v", ErrRolledBack, h, hash)
		}
	}
	var missing []blockstore.Signed
	for h := committed; h > 0; h-- {
		if _, err := n.store.Signature(h); err == nil {
			break
		} else if !errors.Is(err, blockstore.ErrNotFound) {
			return fmt.Errorf("read signature %d: %w", h, err)
		}
		hash, err := n.store.HashAt(h)
		if err != nil {
			return fmt.Errorf("read hash %d: %w", h, err)
		}
		missing = append(missing, blockstore.Signed{Height: h, Hash: hash, Signature: block.Sign(n.cfg.ProcessorKey, hash)})
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Reverse(missing)
	done := make(chan error, 1)
	n.store.Enqueue(blockstore.Batch{Signed: missing}, func(err error) { done <- err })
	if err := <-done; err != nil {
		return fmt.Errorf("store signatures: %w", err)
	}
	return nil
}

// makeParts composes the node. Nothing runs yet.
func (n *Node) makeParts() error {
	cfg := &n.cfg
	tip, hash := n.store.Tip()
	if tip == 0 {
		hash = n.finals.genesis.Hash()
	}
	var claim *replication.Report
	var spare []*block.Block
	if l := n.store.Lost(); l != nil {
		claim = &replication.Report{Synced: core.Term(l.Synced), Tip: replication.Ref{Height: l.Height, Hash: l.Tip}}
		spare = l.Spare
	}
	committed := n.store.Committed()
	if committed.Height == 0 {
		committed.Hash = n.finals.genesis.Hash()
	}
	clock := n.clock()
	var err error
	n.ch, err = replication.New(replication.Options{
		ID: core.NodeID(cfg.ID), Reader: storeReader{n.store}, Synced: core.Term(n.store.Synced()),
		Tip: replication.Ref{Height: tip, Hash: hash}, Nacked: core.Term(n.store.Nacked()),
		Claim: claim, Spare: spare,
		Commit: replication.CommitRecord{
			Ref: replication.Ref{Height: committed.Height, Hash: committed.Hash}, CTerm: core.Term(committed.CTerm), From: committed.From,
		},
		MinElection: cfg.Raftify.Timings().MinElection, MaxInflight: cfg.Limits.MaxInflight, Now: clock.Now(),
	})
	if err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	n.engine, n.finalizer, n.checkpoints = newEngine(n), newFinalizer(n), newCheckpoints(n)
	n.scrubber, n.syncer, n.elsewhere = &scrubber{n: n}, newSyncer(n), newElsewhere(n)
	n.router, n.fetches, n.health, n.outlook = newRouter(n), &fetches{n}, &health{n: n}, newOutlook(n)
	if err := n.checkMarker(); err != nil {
		return fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	rcfg := cfg.Raftify
	rcfg.NeverBootstrap = rcfg.NeverBootstrap ||
		n.store.Election() == nil && (n.marked() || n.store.Import() == blockstore.ImportedJoins)
	n.raft, err = raftify.New(raftify.Options{
		Config: rcfg, Store: electionStore{n.store}, Hook: n.hook(), Logger: cfg.Logger.With().Str("part", "raftify").Logger(),
		AfterStep: n.afterStep, OnReady: n.traceElection(), OnEvent: n.electionEvent, Fatal: n.fail,
		Clock:   clock,
		PeerKey: n.peerKey,
	})
	if errors.Is(err, raftify.ErrStaleFolder) {
		return fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	if err != nil {
		return fmt.Errorf("election: %w", err)
	}
	n.traceStart()
	status := n.raft.Status()
	if n.seen = status.Cfg; n.seen.Key.Ver > 0 {
		if err := n.mark(status.Inc, status.Boot); err != nil {
			return err
		}
	}
	pcfg := cfg.Peer
	pcfg.Peers = n.peersOf(n.seen)
	n.peerSet.Store(&pcfg.Peers)
	n.metrics = newMetrics(n)
	n.syncServer = newSyncServer(n)
	pcfg.ALPN = map[string]func(net.Conn, string){nodesync.ALPN: n.syncServer.ServeConn}
	if n.link, err = peer.New(pcfg, &linkHandler{n}, cfg.Logger.With().Str("part", "peer").Logger()); err != nil {
		return fmt.Errorf("peer link: %w", err)
	}
	if n.server, err = api.New(cfg.API, n, cfg.Logger.With().Str("part", "api").Logger()); err != nil {
		_ = n.link.Close()
		return fmt.Errorf("api: %w", err)
	}
	n.admin = api.NewAdmin(cfg.DataDir, n, cfg.Logger.With().Str("part", "admin").Logger())
	return nil
}

// storeReader answers the replication core from the store.
type storeReader struct{ s *blockstore.Store }

func (r storeReader) HashAt(h block.Height) (block.Hash, bool) {
	hash, err := r.s.HashAt(h)
	return hash, err == nil
}

// electionStore puts the election's hard state into the one queue of writes (PROTOCOL R1).
type electionStore struct{ s *blockstore.Store }

func (e electionStore) Load() ([]byte, error) { return e.s.Election(), nil }

func (e electionStore) Save(state []byte, done func(error)) {
	e.s.Enqueue(blockstore.Batch{Election: state}, done)
}

func (n *Node) uptime() time.Duration { return time.Since(n.start) }

// fail ends Run with err. The first error counts.
func (n *Node) fail(err error) {
	if errors.Is(err, raftify.ErrStaleFolder) {
		err = fmt.Errorf("data folder %s: %w", n.cfg.DataDir, err)
	}
	select {
	case n.fatal <- err:
	default:
	}
	if raft := n.voice.Load(); raft != nil {
		raft.Fail(err)
	}
}

// Started returns a channel that is closed when Run has started everything and the API listens.
func (n *Node) Started() <-chan struct{} { return n.up }

// APIAddr returns the address that the API listens on, "" before Started.
func (n *Node) APIAddr() string {
	select {
	case <-n.up:
		return n.server.Addr().String()
	default:
		return ""
	}
}

// Run takes part until ctx ends, then hands leadership over and closes everything; it returns nil after that. An error
// says why the node had to stop by itself: after a failed write nothing was acknowledged and nothing is retried.
func (n *Node) Run(ctx context.Context) error {
	n.raft.Post(func(now core.Instant, c *core.Core) {
		n.ch.Observe(now, c.Status())
		c.Poke(now)
	})
	n.wg.Go(func() { n.finalizer.run(n.ctx) })
	n.wg.Go(func() { n.engine.run(n.ctx) })
	n.wg.Go(func() { n.checkpoints.run(n.ctx) })
	n.wg.Go(func() { n.warm(n.ctx, n.finals.state().Map()) })
	n.wg.Go(func() { n.router.run(n.ctx) })
	n.wg.Go(func() { n.outlook.run(n.ctx) })
	n.wg.Go(func() { n.health.run(n.ctx) })
	n.wg.Go(func() { n.mender.run(n.ctx) })
	n.wg.Go(func() { n.scrubber.run(n.ctx) })
	n.wg.Go(func() { n.compareGenesis(n.ctx) })
	n.wg.Go(func() { n.syncer.run(n.ctx) })
	n.wg.Go(func() { (&backfill{n: n}).run(n.ctx) })
	err := n.serve(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
			n.log.Info().Msg("stopping: handing leadership over first")
		case lost := <-n.stateLost:
			return errors.Join(lost, n.shutdown(context.WithoutCancel(ctx), true))
		case err = <-n.fatal:
		case err = <-n.server.Failed():
		case err = <-n.admin.Failed():
		}
	}
	stale := errors.Is(err, raftify.ErrStaleFolder)
	err = errors.Join(err, n.shutdown(context.WithoutCancel(ctx), err == nil))
	if stale { // nothing is wrong with the disk
		err = errors.Join(err, n.store.Close())
	}
	return err
}

func (n *Node) serve(ctx context.Context) error {
	n.link.Start()
	if err := n.raft.Start(); err != nil { //nolint:contextcheck // it runs until Close, not until ctx ends: a handover comes last
		return fmt.Errorf("election: %w", err)
	}
	if err := n.serveReaders(ctx); err != nil {
		return err
	}
	if err := n.admin.Start(ctx); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if err := n.server.Start(ctx); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	close(n.up)
	n.log.Info().Str("api", n.APIAddr()).Uint64("height", uint64(n.finals.height())).Msg("node started")
	return nil
}

// drainTimeout is how long a stopping node lets requests finish.
const drainTimeout = 3 * time.Second

// shutdown stops the parts from the outside in. With handover it gives up leadership first, while everything works.
func (n *Node) shutdown(ctx context.Context, handover bool) error {
	// A handover takes milliseconds; who is not replaced within an election timeout will not be.
	replaced, cancel := context.WithTimeout(ctx, 5*n.cfg.Raftify.Timings().MinElection)
	defer cancel()
	if handover && n.view.Load().leading && n.view.Load().members > 1 {
		if err := n.raft.Transfer(replaced, ""); err != nil {
			n.log.Warn().Err(err).Msg("stopping without a handover")
		}
	}
	drain, cancelDrain := context.WithTimeout(ctx, drainTimeout)
	defer cancelDrain()
	if handover {
		n.health.leave(drain)
	}
	n.hub.close()
	n.router.stop()
	err := errors.Join(ignoreTimeout(n.server.Shutdown(drain)), ignoreTimeout(n.admin.Shutdown(drain)))
	n.cancel()
	err = errors.Join(err, n.raft.Close(), n.syncServer.Close(), n.link.Close())
	n.wg.Wait()
	if handover {
		err = errors.Join(err, n.store.Close())
	}
	return err
}

func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // what was left was cut off
	}
	return err
}

// Close releases what New opened without Run.
func (n *Node) Close() error {
	n.cancel()
	return errors.Join(n.raft.Close(), n.syncServer.Close(), n.link.Close(), n.store.Close())
}

// electionEvent lets an operator follow an election in this node's log, whatever raftify itself may log.
func (n *Node) electionEvent(e core.Event) {
	log := n.log.With().Uint64("term", uint64(e.Term)).Logger()
	switch e.Kind {
	case core.EventBootstrapped:
		n.markLater()
		log.Info().Uint64("config", e.Cfg.Ver).Msg("first configuration of the cluster adopted")
	case core.EventJoined:
		n.markLater()
		log.Info().Uint64("config", e.Cfg.Ver).Msg("joined the cluster as a learner")
	case core.EventReconfigured:
		log.Warn().Uint64("config", e.Cfg.Ver).Str("member", string(e.Peer)).Str("change", e.Detail).Msg("membership changed by this leader")
	case core.EventJoinRefused:
		log.Debug().Str("member", string(e.Peer)).Str("why", e.Detail).Msg("request to join refused") // raftify warns, now and then
	case core.EventAlarm:
		n.metrics.alarms.Inc()
		log.Error().Msg(e.Detail)
	case core.EventTerm:
		log.Debug().Str("why", e.Detail).Msg("new term")
	case core.EventRole:
		log.Info().Str("role", e.Role.String()).Str("why", e.Detail).Msg("role")
	case core.EventElected:
		n.metrics.elected.Inc()
		log.Info().Msg("elected by a majority, taking over")
	case core.EventStepDown:
		log.Warn().Str("why", e.Detail).Msg("stepping down")
	case core.EventLeader:
		log.Info().Str("leader", string(e.Peer)).Msg("leader")
	case core.EventVoteGranted:
		log.Info().Str("to", string(e.Peer)).Msg("vote granted")
	case core.EventVoteRefused:
		log.Debug().Str("to", string(e.Peer)).Str("why", e.Detail).Msg("vote refused")
	case core.EventTransfer:
		log.Info().Str("peer", string(e.Peer)).Str("what", e.Detail).Msg("handover")
	case core.EventConfig:
		log.Info().Uint64("config", e.Cfg.Ver).Msg("configuration")
	case core.EventDied:
		log.Info().Str("peer", string(e.Peer)).Uint64("boot", e.Seq).Msg("its supervisor says that this start of it has ended")
	case core.EventSuspected:
		log.Info().Str("peer", string(e.Peer)).Msg("the leader's host refuses connections")
	case core.EventFitness:
		if n.health.leaving.Load() {
			break
		}
		log.Warn().Str("fitness", e.Detail).Msg("fitness to lead")
	case core.EventStale:
		n.metrics.alarms.Inc()
		log.Error().Str("why", e.Detail).Msg("this data folder is out of use for good")
	case core.EventLeave:
		log.Info().Str("leader", string(e.Peer)).Str("why_not", e.Detail).Msg("answer to this node's wish to leave")
	case core.EventLeading, core.EventRound: // the chain's takeover says the first; the second is each read's
	}
}
