package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-ha/baton/blockstore/block"
)

// metrics of one node, in a registry of its own: nodes of one process do not meet.
type metrics struct {
	reg       *prometheus.Registry
	blocks    prometheus.Counter
	txs       prometheus.Counter
	latency   prometheus.Histogram
	dropped   prometheus.Counter
	malformed prometheus.Counter
	alarms    prometheus.Counter
	elected   prometheus.Counter
}

func newMetrics(n *Node) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "baton", Name: name, Help: help})
	}
	m := &metrics{
		reg:       prometheus.NewRegistry(),
		blocks:    counter("blocks_final_total", "Blocks that became final on this node since its start."),
		txs:       counter("transactions_final_total", "Transactions in those blocks."),
		dropped:   counter("peer_messages_dropped_total", "Chain messages that a peer's queue had no room for."),
		malformed: counter("peer_messages_malformed_total", "Messages of peers that could not be decoded."),
		alarms:    counter("alarms_total", "Events that an operator must look at; see the log."),
		elected:   counter("elections_won_total", "Elections that this node won since its start."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "baton", Name: "submit_seconds", Help: "Time from a client's transaction to its final answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "baton", Name: name, Help: help}, read)
	}
	m.reg.MustRegister(m.blocks, m.txs, m.latency, m.dropped, m.malformed, m.alarms, m.elected,
		gauge("term", "Election term.", func() float64 { return float64(n.view.Load().term) }),
		gauge("leading", "1 while this node leads under a valid lease.", func() float64 {
			if n.raft.Leading() {
				return 1
			}
			return 0
		}),
		gauge("lease_seconds", "What is left of this node's lease.", func() float64 { return n.raft.Lease().Seconds() }),
		gauge("height", "Newest final height.", func() float64 { return float64(n.finals.height()) }),
		gauge("leader_height", "Newest final height that the leader is known to have.", func() float64 {
			return float64(n.view.Load().leaderHeight)
		}),
		gauge("mempool_transactions", "Transactions that wait for a block.", func() float64 { return float64(n.engine.pool.Len()) }),
		gauge("peers_connected", "Peers that this node can send to.", func() float64 { return float64(len(n.link.Connected())) }),
	)
	return m
}

func (m *metrics) finalized(b *block.Block) {
	m.blocks.Inc()
	m.txs.Add(float64(len(b.Txs)))
}

func (m *metrics) submitted(since time.Time) { m.latency.Observe(time.Since(since).Seconds()) }
