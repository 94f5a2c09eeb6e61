package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

var _ peer.Handler = (*linkHandler)(nil)

// linkHandler takes what peers say. What is malformed is counted and dropped.
type linkHandler struct{ n *Node }

func (l *linkHandler) HandleMessage(from string, kind byte, payload []byte) {
	n := l.n
	switch kind {
	case msgChain:
		m, err := replication.DecodeMessage(payload)
		if err != nil || string(m.From) != from {
			n.metrics.malformed.Inc()
			n.log.Warn().Err(err).Str("peer", from).Msg("malformed chain message dropped")
			return
		}
		reproduced := m.Type == replication.MsgProp && n.engine.ahead(m.Block)
		n.raft.Do(func(now core.Instant, c *core.Core) {
			if reproduced && n.states.get(m.Ref.Hash) != nil { // it may have jumped since
				n.ch.Executed(now, m.Ref.Hash, true)
			}
			replication.Deliver(now, c, n.ch, m)
		})
	case msgVerdict:
		v, err := decodeVerdict(payload)
		if err != nil {
			n.metrics.malformed.Inc()
			return
		}
		n.router.judge(v)
	default:
		n.metrics.malformed.Inc()
	}
}

func (l *linkHandler) HandleRequest(ctx context.Context, from string, kind byte, payload []byte) ([]byte, error) {
	n := l.n
	switch kind {
	case reqForward:
		return n.router.takeForwarded(ctx, from, payload)
	case reqFetch:
		f, cluster, err := decodeFetch(payload)
		if err != nil {
			return nil, err
		}
		if err := n.sameCluster(cluster); err != nil {
			return nil, err
		}
		blocks, err := serveFetch(n.store, f, n.cfg.Peer.MaxPayloadBytes()-64)
		if gone := (*replication.PrunedError)(nil); errors.As(err, &gone) {
			return replication.EncodePruned(gone) //nolint:wrapcheck // says all
		}
		if err != nil {
			n.mender.found(err) // the asker goes to another node
			return nil, err
		}
		return replication.EncodeCertified(blocks) //nolint:wrapcheck // says all
	case reqReadIndex:
		h, err := n.leaderReadIndex(ctx)
		if err != nil {
			return nil, err
		}
		return encodeHeight(h), nil
	case reqReport:
		return encodeReport(n.outlook.report()), nil
	case reqTransfer:
		if !n.view.Load().leading {
			return nil, fmt.Errorf("%s does not lead", n.cfg.ID)
		}
		return answerOf(n.LeaderTransfer(ctx, string(payload)))
	case reqGenesis:
		return n.kin().encode(), nil
	case reqFinal:
		answer, err := n.mender.serve(payload)
		n.mender.found(err)
		return answer, err
	case reqCertificate:
		return n.serveCertificate(payload)
	case reqReceipt:
		return n.serveReceipt(payload)
	case reqMember:
		return answerOf(n.takeMemberRequest(ctx, payload))
	}
	return nil, fmt.Errorf("request kind %d: %w", kind, errMalformed)
}

// answerOf makes an answer that is meant for people one that travels whole: its text alone would lose what kind it is.
func answerOf(err error) ([]byte, error) {
	if ae := (*api.Error)(nil); errors.As(err, &ae) {
		return encodeAnswer(ae), nil
	}
	return nil, err
}

func (l *linkHandler) PeerUp(id string) {
	n := l.n
	n.log.Debug().Str("peer", id).Msg("peer link up")
	n.raft.Post(func(now core.Instant, c *core.Core) {
		n.ch.PeerUp(now, core.NodeID(id))
		c.Poke(now)
	})
}

func (l *linkHandler) PeerDown(id string) {
	n := l.n
	n.log.Debug().Str("peer", id).Msg("peer link down")
	if n.ctx.Err() == nil && string(n.raft.Status().Leader) == id {
		n.wg.Go(func() { n.probe(id) })
	}
}

// fetches carries out the replication core's requests for blocks, one at a time.
type fetches struct{ n *Node }

const (
	maxFetchBytes = 4 << 20
	maxFetchCount = 256
)

// start is called in the owner loop; the answer comes back to it, whatever happens.
func (f *fetches) start(q replication.Fetch) {
	n := f.n
	n.wg.Go(func() {
		ctx, cancel := context.WithTimeout(n.ctx, max(time.Second, 4*n.cfg.Raftify.Timings().MinElection))
		defer cancel()
		var blocks []replication.Certified
		answer, err := n.link.Request(ctx, string(q.Peer), reqFetch, encodeFetch(q, n.raft.Status().ClusterID))
		if err == nil {
			blocks, err = replication.DecodeCertified(answer)
		}
		if err != nil {
			n.log.Debug().Err(err).Str("peer", string(q.Peer)).Uint64("from", uint64(q.From)).Msg("fetch blocks")
		}
		n.raft.Post(func(now core.Instant, c *core.Core) {
			n.ch.Fetched(now, q.ID, blocks, err)
			c.Poke(now)
		})
	})
}

// stored is what answering a fetch reads. It changes meanwhile: blocks above the commit are cut and replaced.
type stored interface {
	Tip() (block.Height, block.Hash)
	Base() block.Height
	Committed() blockstore.Commit
	HashAt(h block.Height) (block.Hash, error)
	Block(h block.Height) (*block.Block, error)
	CTermAt(h block.Height) (uint64, error)
}

// serveFetch answers with this node's own stored chain from a height on: up to the block asked for if the chain holds
// it, else up to the commit. A batch ends with a certified block if it can, however long the way to it is, so that
// the asker can take all of it.
func serveFetch(store stored, q replication.Fetch, maxBytes int) ([]replication.Certified, error) {
	// Only up to here do a block and the certificate of its height, read one after the other, surely belong together.
	committed := store.Committed().Height
	end := committed
	if tip, _ := store.Tip(); q.To.Height <= tip {
		if hash, err := store.HashAt(q.To.Height); err == nil && hash == q.To.Hash {
			end = max(end, q.To.Height)
		}
	}
	var out []replication.Certified
	size, full := 0, false
	for h := max(q.From, 1); h <= end; h++ {
		b, err := store.Block(h)
		if errors.Is(err, blockstore.ErrPruned) && len(out) == 0 {
			return nil, &replication.PrunedError{Base: store.Base()}
		}
		if err != nil {
			return nil, fmt.Errorf("read block %d: %w", h, err)
		}
		cterm := uint64(0)
		if h <= committed {
			if cterm, err = store.CTermAt(h); err != nil {
				return nil, fmt.Errorf("read certificate %d: %w", h, err)
			}
		}
		if size += b.Size() + 16; size > maxBytes {
			break
		}
		out = append(out, replication.Certified{Block: b, CTerm: core.Term(cterm)})
		full = full || size >= maxFetchBytes || len(out) >= maxFetchCount
		if full && cterm > 0 {
			break
		}
	}
	return out, nil
}
