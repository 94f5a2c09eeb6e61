package node

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// reqGenesis asks a peer which chain it runs: the chain's id and the hash of its genesis block.
const reqGenesis = 32

const (
	maxChainIDBytes = 1024
	genesisEvery    = 500 * time.Millisecond
	genesisTimeout  = 2 * time.Second
	genesisAgain    = 10 * time.Second // a peer that gave no answer is asked again
)

// kin is what a node says of its chain.
type kin struct {
	chainID string
	genesis block.Hash
}

func (k kin) encode() []byte { return encode([]byte(k.chainID), k.genesis[:]) }

func decodeKin(b []byte) (kin, error) {
	d := newReader(b, 2)
	var k kin
	k.chainID = string(d.bytes(maxChainIDBytes))
	d.fixed(k.genesis[:])
	return k, d.end()
}

func (n *Node) kin() kin { return kin{n.cfg.Genesis.ChainID, n.finals.genesis.Hash()} }

// differ says what is wrong when a peer runs another chain, "" when it does not.
func (k kin) differ(peer string, its kin) string {
	switch {
	case k == its:
		return ""
	case k.chainID != its.chainID:
		return peer + " runs another chain: its chain id is " + strconv.Quote(its.chainID) + ", this node's is " + strconv.Quote(k.chainID) +
			"; no block can be agreed on with it: give both the same genesis.json"
	default:
		return peer + " has another genesis.json with the same chain id: its genesis block is " + its.genesis.String() +
			", this node's is " + k.genesis.String() + "; no block can be agreed on with it: give both the same genesis.json"
	}
}

// compareGenesis asks each peer which chain it runs, once for as long as it is connected. Peers prove their keys, not their
// chain: with the wrong genesis.json on one host everything would look well but for the blocks.
func (n *Node) compareGenesis(ctx context.Context) {
	tick := time.NewTicker(genesisEvery)
	defer tick.Stop()
	asked := map[string]time.Time{} // zero: it answered
	for {
		up := n.link.Connected()
		maps.DeleteFunc(asked, func(id string, _ time.Time) bool { return !slices.Contains(up, id) })
		for _, id := range up {
			if last, ok := asked[id]; ok && (last.IsZero() || time.Since(last) < genesisAgain) {
				continue
			}
			asked[id] = time.Now()
			if n.askGenesis(ctx, id) {
				asked[id] = time.Time{}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// askGenesis asks one peer, and tells the operator if it runs another chain. False: there is no answer.
func (n *Node) askGenesis(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, genesisTimeout)
	defer cancel()
	b, err := n.link.Request(ctx, id, reqGenesis, nil)
	if err != nil {
		n.log.Debug().Err(err).Str("peer", id).Msg("ask for its chain")
		return false
	}
	its, err := decodeKin(b)
	if err != nil {
		n.metrics.malformed.Inc()
		return false
	}
	what := n.kin().differ(id, its)
	n.mu.Lock()
	n.strangers[id] = what
	n.mu.Unlock()
	if what != "" {
		n.metrics.alarms.Inc()
		n.log.Error().Str("peer", id).Msg(what)
	}
	return true
}

// stranger says what is wrong with a peer that runs another chain, "" when nothing is known of that.
func (n *Node) stranger(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.strangers[id]
}
