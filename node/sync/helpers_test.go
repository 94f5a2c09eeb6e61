package sync

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/internal/storetest"
)

var processor, stranger = storetest.Key(1), storetest.Key(2)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// world is one chain, and the stores of the nodes that have it.
type world struct {
	tb     testing.TB
	chain  string
	blocks []*block.Block
	nodes  []*holder
}

type holder struct {
	store *blockstore.Store
	m     *merkle.Map
}

const testChain = "test"

func newWorld(tb testing.TB, nodes int) *world {
	tb.Helper()
	w := &world{tb: tb, chain: testChain}
	w.blocks = []*block.Block{block.New(block.Header{ChainID: testChain, ChainVersion: "1", StateRoot: merkle.EmptyRoot()}, nil)}
	for range nodes {
		h := &holder{store: storetest.Open(tb, vfs.NewMem())}
		h.m = merkle.Empty(h.store)
		storetest.Write(tb, h.store, blockstore.Batch{Append: w.blocks})
		w.nodes = append(w.nodes, h)
	}
	return w
}

func (w *world) tip() *block.Block { return w.blocks[len(w.blocks)-1] }

// add makes a final block that changes the state, on all nodes. The nodes that are named store the state.
func (w *world) add(changes []merkle.Change, save ...int) *block.Block {
	w.tb.Helper()
	head := w.tip().Header
	head.Parent, head.Height, head.TimeMs, head.Proposer = w.tip().Hash(), head.Height+1, head.TimeMs+1, "node1"
	for _, n := range w.nodes {
		m, err := n.m.Update(changes)
		if err != nil {
			w.tb.Fatal(err)
		}
		n.m = m.Seal()
		head.StateRoot = n.m.Root()
	}
	b := block.New(head, []*block.Tx{block.SignTx(stranger, binary.BigEndian.AppendUint64(nil, uint64(head.Height)))})
	w.blocks = append(w.blocks, b)
	for _, n := range w.nodes {
		storetest.Write(w.tb, n.store, blockstore.Batch{
			Append: []*block.Block{b}, Commit: &blockstore.Commit{Height: head.Height, Hash: b.Hash(), CTerm: 3, From: head.Height},
			Signed: []blockstore.Signed{{Height: head.Height, Hash: b.Hash(), Signature: block.Sign(processor, b.Hash())}},
		})
	}
	for _, i := range save {
		n := w.nodes[i]
		if _, err := n.store.SaveState(w.tb.Context(), n.m, head.Height, b.Hash()); err != nil {
			w.tb.Fatal(err)
		}
	}
	return b
}

// accounts are n entries of the size of accounts, other ones for another seed. Values differ from round to round.
func accounts(n int, seed, round uint64) []merkle.Change {
	keys, values := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, round+2))
	out := make([]merkle.Change, n)
	for i := range out {
		key, value := make([]byte, 33), make([]byte, 30)
		key[0] = 'a'
		for at := 1; at < 33; at += 8 {
			binary.BigEndian.PutUint64(key[at:], keys.Uint64())
		}
		for at := range value {
			value[at] = byte(values.Uint32())
		}
		out[i] = merkle.Change{Key: key, Value: value}
	}
	return out
}

// small are sizes that make a large state of a small one.
var small = sizes{piece: 16 << 10, part: 32 << 10}

func (w *world) smallServer(i int) *Server {
	s := w.server(i)
	s.piece = small.piece
	return s
}

func (w *world) smallClient(cfg ClientConfig) *Client {
	c := NewClient(cfg)
	c.sizes = small
	return c
}

func (w *world) server(i int) *Server {
	s := NewServer(ServerConfig{Store: w.nodes[i].store, ChainID: testChain, Genesis: w.blocks[0].Hash(), Logger: zerolog.Nop()})
	w.tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.tb.Error(err)
		}
	})
	return s
}

// peer serves a handler over HTTP.
func (w *world) peer(name string, h http.Handler) Peer {
	s := httptest.NewServer(h)
	w.tb.Cleanup(s.Close)
	return Peer{Name: name, URL: s.URL, Client: s.Client()}
}

func (w *world) config(peers ...Peer) ClientConfig {
	return ClientConfig{
		ChainID: testChain, Genesis: w.blocks[0].Hash(), Key: public(processor), Peers: func() []Peer { return peers },
		Patience: 5 * time.Second, Logger: zerolog.Nop(),
	}
}

// newcomer is the store of a node that has genesis only.
func (w *world) newcomer(fs vfs.FS) *blockstore.Store {
	s := storetest.Open(w.tb, fs)
	if _, hash := s.Tip(); hash.IsZero() {
		storetest.Write(w.tb, s, blockstore.Batch{Append: w.blocks[:1]})
	}
	return s
}

// bring transfers an offer's state and jumps there.
func bring(ctx context.Context, c *Client, s *blockstore.Store, o Offer) (block.Final, error) {
	t, jump, err := c.Transfer(ctx, s, o)
	if err != nil {
		return block.Final{}, err
	}
	defer t.Close()
	done := make(chan error, 1)
	s.Enqueue(blockstore.Batch{Jump: jump}, func(err error) { done <- err })
	return jump.Final, <-done
}

func (w *world) mustSync(c *Client, s *blockstore.Store) block.Final {
	w.tb.Helper()
	o, err := c.Newest(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	f, err := bring(w.tb.Context(), c, s, o)
	if err != nil {
		w.tb.Fatal(err)
	}
	return f
}

// holds checks that a store has exactly the state of a block, and nothing besides.
func (w *world) holds(fs vfs.FS, s *blockstore.Store, b *block.Block) {
	w.tb.Helper()
	cp, ok := s.Checkpoint()
	if !ok || cp.Height != b.Header.Height || cp.Root != b.Header.StateRoot || s.Committed().Hash != b.Hash() {
		w.tb.Fatalf("checkpoint %+v, want that of %d", cp, b.Header.Height)
	}
	if err := s.Close(); err != nil {
		w.tb.Fatal(err)
	}
	rep, err := blockstore.VerifyDir(fs, storetest.Dir, public(processor), w.blocks[0].Hash())
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, p := range rep.Problems {
		w.tb.Error(p)
	}
}

// rewritten serves a world's blocks, one of them changed.
func rewritten(
	t *testing.T, w *world, at block.Height, change func(b *block.Block, sig *block.Signature) *block.Block,
) http.Handler {
	t.Helper()
	return bent(w.server(0), pathBlocks, func(rw http.ResponseWriter, _ *http.Request, status int, body []byte) {
		var out []byte
		for f := newFrames(bytes.NewReader(body)); status == http.StatusOK; {
			frame, err := f.next(block.MaxBlockBytes)
			if err != nil {
				break
			}
			final, err := decodeFinal(frame)
			if err != nil {
				t.Error(err)
				return
			}
			if final.Block.Header.Height == at {
				final.Block = change(final.Block, &final.Signature)
			}
			out = appendFinal(out, final)
		}
		rw.WriteHeader(status)
		_, _ = rw.Write(out)
	})
}
