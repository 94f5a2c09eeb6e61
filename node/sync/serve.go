package sync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// serveStates answers with the newest states; if a height is named, with the newest ones up to there and the first one
// above.
func (s *Server) serveStates(r *http.Request, _ http.Header, buf []byte) (reply, error) {
	at := uint64(math.MaxUint64)
	if text := r.URL.Query().Get("at"); text != "" {
		var err error
		if at, err = strconv.ParseUint(text, 10, 64); err != nil {
			return reply{}, refuse(http.StatusBadRequest, "at: not a height")
		}
	}
	out := states{chainID: s.cfg.ChainID, genesis: s.cfg.Genesis}
	tip, err := s.tip()
	if err != nil {
		return reply{}, err
	}
	list, err := s.shelf.checkpoints()
	if err != nil {
		return reply{}, err
	}
	out.tip = tip
	if tip == nil {
		list = nil
	}
	up, _ := slices.BinarySearchFunc(list, at, func(cp blockstore.Checkpoint, at uint64) int {
		if uint64(cp.Height) <= at {
			return -1
		}
		return 1
	})
	for _, cp := range list[up:] {
		found, err := s.offer(&out, cp)
		if err != nil {
			return reply{}, err
		}
		if found {
			break
		}
	}
	for _, cp := range slices.Backward(list[:up]) {
		if len(out.list) == maxStates {
			break
		}
		if _, err := s.offer(&out, cp); err != nil {
			return reply{}, err
		}
	}
	return reply{body: append(buf, out.encode()...)}, nil
}

// offer adds a stored state, if its block is final.
func (s *Server) offer(out *states, cp blockstore.Checkpoint) (bool, error) {
	f, err := s.cfg.Store.Final(cp.Height)
	if errors.Is(err, blockstore.ErrNotFinal) || errors.Is(err, blockstore.ErrPruned) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if f.Block.Hash() != cp.Hash || f.Block.Header.StateRoot != cp.Root {
		return false, nil
	}
	out.list = append(out.list, newSignedHeader(f))
	return true, nil
}

// lookBack is how far below the commit the newest signature is looked for.
const lookBack = 64

// tip returns the newest final block's header, nil when there is none.
func (s *Server) tip() (*signedHeader, error) {
	top := s.cfg.Store.Committed().Height
	for h := top; h > 0 && top-h < lookBack; h-- {
		f, err := s.cfg.Store.Final(h)
		if errors.Is(err, blockstore.ErrNotFinal) {
			continue
		}
		if errors.Is(err, blockstore.ErrPruned) {
			break
		}
		if err != nil {
			return nil, err
		}
		head := newSignedHeader(f)
		return &head, nil
	}
	return nil, nil //nolint:nilnil // none yet
}

// serveSubtree answers with the nodes below one that its hash names, in pre-order. The answer is the same for ever.
func (s *Server) serveSubtree(r *http.Request, head http.Header, buf []byte) (reply, error) {
	q := r.URL.Query()
	hash, err := block.ParseHash(r.PathValue("hash"))
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "not a hash")
	}
	root, err := block.ParseHash(q.Get("root"))
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "root: not a hash")
	}
	pos, err := parsePosition(q.Get("pos"))
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "pos: %v", err)
	}
	from, err := parsePosition(q.Get("from"))
	if err != nil || len(pos)+len(from) > maxNibbles {
		return reply{}, refuse(http.StatusBadRequest, "from: %v", err)
	}
	s.hold.touch(time.Now())
	all, err := s.shelf.states(root)
	if err != nil {
		return reply{}, err
	}
	for _, st := range all {
		have, _, ok, err := st.m.At(pos)
		if err == nil && ok && block.Hash(have) == hash {
			var next position
			if buf, next, err = s.walk(st, pos, from, buf); err == nil {
				if next != nil {
					head.Set(headerNext, next[len(pos):].String())
				}
				return reply{body: buf, immutable: true, tag: fmt.Sprintf("%q", hash.String()+"-"+from.String())}, nil
			}
		}
		if err := s.missing(err, st.Checkpoint); err != nil {
			return reply{}, err
		}
		buf = buf[:0]
	}
	return reply{}, refuse(http.StatusNotFound, "no such piece of state here")
}

// walk appends the nodes of a subtree from a position below it on, and returns where to go on; nil when that was all.
func (s *Server) walk(st *openState, pos, from position, buf []byte) (_ []byte, next position, err error) {
	nodes, err := s.cfg.Store.Nodes()
	if err != nil {
		return buf, nil, err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	m, err := merkle.Load(nodes, merkle.Hash(st.Root), st.RootNode, merkle.WithCacheBytes(0))
	if err != nil {
		return buf, nil, err
	}
	first, most := len(buf), s.piece
	err = m.Walk(pos, slices.Concat(pos, from), func(at, enc []byte) bool {
		if len(buf) > first && len(buf)+4+len(enc)-first > most {
			next = bytes.Clone(at)
			return false
		}
		buf = appendFrame(buf, enc)
		return true
	})
	return buf, next, err //nolint:wrapcheck // names the node
}

// missing tells a state that was pruned while it was read, for which it returns nil, from one that is damaged.
func (s *Server) missing(err error, cp blockstore.Checkpoint) error {
	if err == nil {
		return nil
	}
	pruned, listErr := s.shelf.pruned(cp)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	if !pruned {
		return err
	}
	return nil
}

// serveNodes answers with single nodes of one state, in the order of the positions that the request's body names, one a
// line. An empty frame stands where there is no node. The answer may end early.
func (s *Server) serveNodes(r *http.Request, _ http.Header, buf []byte) (reply, error) {
	root, err := block.ParseHash(r.URL.Query().Get("root"))
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "root: not a hash")
	}
	body, err := io.ReadAll(r.Body) // bounded, and in memory already
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "body: %v", err)
	}
	s.hold.touch(time.Now())
	all, err := s.shelf.states(root)
	if err != nil {
		return reply{}, err
	}
	if len(all) == 0 || all[0].Root != root {
		return reply{}, refuse(http.StatusNotFound, "no such state here")
	}
	n := 0
	for line := range strings.Lines(string(body)) {
		pos, err := parsePosition(strings.TrimSuffix(line, "\n"))
		if n++; err != nil || n > maxPositions {
			return reply{}, refuse(http.StatusBadRequest, "position %d: %v", n, err)
		}
		enc, err := all[0].m.NodeAt(pos)
		if err != nil {
			if err := s.missing(err, all[0].Checkpoint); err != nil {
				return reply{}, err
			}
			return reply{}, refuse(http.StatusNotFound, "no such state here any more")
		}
		if len(buf) > 0 && len(buf)+4+len(enc) > s.piece {
			break
		}
		buf = appendFrame(buf, enc)
	}
	return reply{body: buf}, nil
}

// serveBlocks answers with final blocks of a range, ascending, as many as fit; the first one must be there.
func (s *Server) serveBlocks(r *http.Request, _ http.Header, buf []byte) (reply, error) {
	from, to, err := heights(r)
	if err != nil {
		return reply{}, err
	}
	for h := from; h <= to && r.Context().Err() == nil; h++ {
		f, err := s.cfg.Store.Final(h)
		if errors.Is(err, blockstore.ErrNotFinal) || errors.Is(err, blockstore.ErrPruned) {
			break
		}
		if err != nil {
			return reply{}, err
		}
		if len(buf) > 0 && len(buf)+f.Block.Size()+finalTail > pieceBytes {
			break
		}
		buf = appendFinal(buf, f)
	}
	if len(buf) == 0 {
		return reply{}, refuse(http.StatusNotFound, "block %d is not final, or not any more here", from)
	}
	return reply{body: buf, loose: true}, nil
}

// headersRead bounds the bytes of blocks that are read for one answer of headers.
const headersRead = 32 << 20

// serveHeaders answers with the headers of a range, ascending, as many as fit; the first one must be there. Those below
// the newest signed block need no signature: it is theirs as well.
func (s *Server) serveHeaders(r *http.Request, _ http.Header, buf []byte) (reply, error) {
	from, to, err := heights(r)
	if err != nil {
		return reply{}, err
	}
	tip, err := s.tip()
	if err != nil {
		return reply{}, err
	}
	if tip == nil {
		to = 0
	} else {
		to = min(to, tip.Height)
	}
	read := 0
	for h := from; h <= to && r.Context().Err() == nil && len(buf) < pieceBytes-maxHeaderBytes && read < headersRead; h++ {
		b, err := s.cfg.Store.Block(h)
		if errors.Is(err, blockstore.ErrPruned) {
			break
		}
		if err != nil {
			return reply{}, err
		}
		read += b.Size()
		buf = appendFrame(buf, b.Header.Encode())
	}
	if len(buf) == 0 {
		return reply{}, refuse(http.StatusNotFound, "block %d is not final, or not any more here", from)
	}
	return reply{body: buf, loose: true}, nil
}
