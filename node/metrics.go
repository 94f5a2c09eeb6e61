package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// metrics of one node, in a registry of its own: nodes of one process do not meet.
type metrics struct {
	reg       *prometheus.Registry
	blocks    prometheus.Counter
	txs       prometheus.Counter
	submit    prometheus.Histogram
	commit    prometheus.Histogram
	blockTxs  prometheus.Histogram
	dropped   prometheus.Counter
	malformed prometheus.Counter
	alarms    prometheus.Counter
	elected   prometheus.Counter
	syncSent  prometheus.Counter
}

func newMetrics(n *Node) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "baton", Name: name, Help: help})
	}
	histogram := func(name, help string, start float64, count int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "baton", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(start, 2, count),
		})
	}
	m := &metrics{
		reg:       prometheus.NewRegistry(),
		blocks:    counter("blocks_final_total", "Blocks that became final on this node since its start."),
		txs:       counter("transactions_final_total", "Transactions in those blocks."),
		dropped:   counter("peer_messages_dropped_total", "Chain messages that a peer's queue had no room for."),
		malformed: counter("peer_messages_malformed_total", "Messages of peers that could not be decoded."),
		alarms:    counter("alarms_total", "Events that an operator must look at; see the log."),
		elected:   counter("elections_won_total", "Elections that this node won since its start."),
		syncSent:  counter("sync_sent_bytes_total", "Bytes of states and blocks that were served to others that catch up."),
		submit:    histogram("submit_seconds", "Time from a client's transaction to its final answer.", 0.0005, 16),
		commit:    histogram("commit_seconds", "Time from the proposal of a block by this node to its commit.", 0.0005, 16),
		blockTxs:  histogram("block_transactions", "Transactions in a final block.", 1, 14),
	}
	m.reg.MustRegister(m.blocks, m.txs, m.submit, m.commit, m.blockTxs, m.dropped, m.malformed, m.alarms, m.elected, m.syncSent, &readings{n})
	return m
}

func (m *metrics) finalized(b *block.Block) {
	m.blocks.Inc()
	m.txs.Add(float64(len(b.Txs)))
	m.blockTxs.Observe(float64(len(b.Txs)))
}

func (m *metrics) submitted(since time.Time) { m.submit.Observe(time.Since(since).Seconds()) }

// readings are the metrics that the parts keep themselves and that are read when somebody asks.
type readings struct{ n *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("baton_"+name, help, labels, nil)
}

var roles = []core.Role{
	core.RoleFollower, core.RolePreCandidate, core.RoleCandidate, core.RoleLeader, core.RoleLearner,
}

// Describe sends nothing: what Collect sends describes itself.
func (r *readings) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *readings) Collect(ch chan<- prometheus.Metric) {
	n := r.n
	gauge := func(name, help string, v float64) {
		ch <- prometheus.MustNewConstMetric(desc(name, help), prometheus.GaugeValue, v)
	}
	counter := func(name, help string, v uint64) {
		ch <- prometheus.MustNewConstMetric(desc(name, help), prometheus.CounterValue, float64(v))
	}
	truth := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	s, v := n.raft.Status(), n.view.Load()
	gauge("term", "Election term.", float64(s.Term))
	for _, role := range roles {
		ch <- prometheus.MustNewConstMetric(desc("role", "1 for the node's role in the election.", "role"),
			prometheus.GaugeValue, truth(role == s.Role), role.String())
	}
	gauge("leading", "1 while this node leads under a valid lease.", truth(n.raft.Leading()))
	gauge("lease_seconds", "What is left of this node's lease.", n.raft.Lease().Seconds())
	gauge("ready", "1 while the node is caught up and in contact with a leader.", truth(n.Ready() == nil))
	gauge("height", "Newest final height.", float64(n.finals.height()))
	gauge("tip_height", "Newest height of the own chain, final or not.", float64(v.tip.Height))
	gauge("leader_height", "Newest final height that the leader is known to have.", float64(v.leaderHeight))
	gauge("mempool_transactions", "Transactions that wait for a block.", float64(n.engine.pool.Len()))
	gauge("mempool_bytes", "Bytes of those.", float64(n.engine.pool.Bytes()))
	n.router.mu.Lock()
	pending, bytes := len(n.router.pending), n.router.bytes
	n.router.mu.Unlock()
	gauge("pending_transactions", "Transactions taken from clients that are not final yet.", float64(pending))
	gauge("pending_bytes", "Bytes of those.", float64(bytes))

	l := n.link.Stats()
	gauge("peers_connected", "Peers that this node can send to.", float64(len(n.link.Connected())))
	counter("peer_received_bytes_total", "Bytes of frames received from peers.", l.BytesIn)
	counter("peer_sent_bytes_total", "Bytes of frames sent to peers.", l.BytesOut)
	counter("peer_received_frames_total", "Frames received from peers.", l.FramesIn)
	counter("peer_sent_frames_total", "Frames sent to peers.", l.FramesOut)
	counter("peer_frames_lost_total", "Frames that a full queue refused or a lost connection took along.", l.Drops)
	counter("peer_refused_total", "Connections that were refused.", l.Refused)
	gauge("peer_queued_bytes", "Bytes that wait for peers.", float64(l.QueuedBytes))

	g := n.raft.Stats()
	counter("election_messages_sent_total", "Election messages sent.", g.Sent)
	counter("election_messages_received_total", "Election messages received.", g.Received)
	counter("election_heartbeats_repeated_total", "Heartbeats that were said again because the owner loop was late.", g.Repeated)
	counter("election_messages_malformed_total", "Datagrams on the gossip port that were no message.", g.Malformed)
	counter("election_messages_lost_total", "Election messages that a full queue dropped.", g.Overflow)

	d := n.store.Stats()
	counter("store_batches_total", "Atomic changes written.", d.Batches)
	counter("store_bytes_total", "Bytes written to the log.", d.Bytes)
	w := n.store.Written()
	counter("disk_log_bytes_total", "Bytes written to the log's files.", w.Log)
	counter("disk_mark_bytes_total", "Bytes written to the mark file.", w.Mark)
	counter("disk_flushed_bytes_total", "Bytes written to tables that were new.", w.Flushed)
	counter("disk_compacted_bytes_total", "Bytes written to tables that were merged from others.", w.Compacted)
	gauge("store_queued_batches", "Changes that wait to be written.", float64(d.Queued))
	buckets := map[float64]uint64{}
	for i, bound := range blockstore.SyncBounds() {
		buckets[bound.Seconds()] = d.SyncBuckets[i]
	}
	ch <- prometheus.MustNewConstHistogram(desc("fsync_seconds", "How long a group of changes waited for its fsync."),
		d.Syncs, d.TotalSync.Seconds(), buckets)
	if cp, ok := n.store.Checkpoint(); ok {
		gauge("checkpoint_height", "Height of the newest stored state: a restart executes what came after it.", float64(cp.Height))
	}
	p, syncing, jumps := n.syncer.progress()
	counter("sync_states_total", "States of other nodes that this one went on from.", jumps)
	gauge("syncing", "1 while the state of another node is being taken over.", truth(syncing))
	gauge("sync_height", "Block whose state is, or was last, being taken over.", float64(p.Height))
	gauge("sync_done", "How much of that state is here, 0 to 1.", p.Done)
	gauge("sync_pieces", "Pieces of that state that are stored.", float64(p.Pieces))
	gauge("sync_bytes_per_second", "Rate at which it arrives.", p.BytesPerSecond)
	gauge("sync_remaining_seconds", "What is left at this pace.", p.Remaining.Seconds())
	counter("sync_received_bytes_total", "Bytes of the state received, of the transfer under way or last.", p.Bytes)
	counter("damaged_total", "Blocks and states of this node that were found damaged.", n.mender.damaged.Load())
	counter("repaired_total", "Damaged blocks that were repaired.", n.mender.repaired.Load())
	counter("scrub_passes_total", "Passes over all that is stored, to find damage.", n.scrubber.passes.Load())
	counter("scrub_bytes_total", "Bytes that these have read, about.", n.scrubber.bytes.Load())
	gauge("base_height", "Lowest height from which on all blocks are stored.", float64(n.store.Base()))
	if u, err := n.store.DiskUsage(); err == nil {
		gauge("disk_store_bytes", "Bytes that the data folder takes.", float64(u.StoreBytes))
		gauge("disk_free_bytes", "Bytes that are free on its file system.", float64(u.FreeBytes))
	}
}
