package sync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// stream is an answer with nodes in pre-order.
type stream struct {
	r    *run
	a    *answer
	f    *frames
	cut  position // where the answer ends before its subtree does, nil if it does not; only the peer's word
	cur  []byte   // the node that comes next, once it was read; valid until advance
	read int      // bytes before it
	took int      // nodes
}

// subtree asks for a subtree, from a position below pos on.
func (r *run) subtree(a *attempt, pos, from position, hash merkle.Hash) (*stream, error) {
	q := url.Values{"root": {r.root.String()}, "pos": {pos.String()}}
	if len(from) > 0 {
		q.Set("from", from.String())
	}
	ans, err := a.src.ask(a.ctx, pathState+block.Hash(hash).String(), q, "", pieceBytes+maxNodeBytes)
	if err != nil {
		return nil, err
	}
	st := &stream{r: r, a: ans, f: newFrames(ans)}
	if ans.next != "" {
		rel, err := parsePosition(ans.next)
		if err != nil || len(pos)+len(rel) > maxNibbles {
			ans.Close()
			return nil, lie("%s: %q", headerNext, ans.next)
		}
		st.cut = append(bytes.Clone(pos), rel...)
	}
	return st, nil
}

func (st *stream) close() {
	st.a.Close()
	if st.took > 0 {
		st.r.moved(st.took)
	}
	st.r.c.progress.change(func(p *Progress) { p.Bytes += uint64(st.a.bytes) })
}

// peek returns the next node; io.EOF at the end.
func (st *stream) peek() ([]byte, error) {
	if st.cur == nil {
		enc, err := st.f.next(maxNodeBytes)
		if err == io.EOF { //nolint:errorlint // the end is no error
			return nil, err //nolint:wrapcheck // io.EOF has a meaning
		}
		if err != nil {
			return nil, wire("read node: %w", err)
		}
		st.cur = enc
	}
	return st.cur, nil
}

func (st *stream) advance() {
	st.read += 4 + len(st.cur)
	st.cur = nil
	st.took++
}

// feed gives a part what it wants, until it is complete or the answer ends.
func (st *stream) feed(part *blockstore.Part) (complete bool, err error) {
	for {
		pos, _, more := part.Want()
		if !more {
			return true, nil
		}
		enc, err := st.peek()
		if err != nil {
			if err == io.EOF { //nolint:errorlint // the end is no error
				err = nil
			}
			return false, err
		}
		if err := part.Add(enc); errors.Is(err, blockstore.ErrWrongNode) {
			return false, lie("node %v: %w", position(pos), err)
		} else if err != nil {
			return false, stored(err)
		}
		st.advance()
	}
}

// whole fetches a subtree of which nothing is here. One that turns out to be large is split: what has arrived of it is
// kept.
func (r *run) whole(a *attempt) error {
	it := a.it
	for {
		if a.part == nil {
			a.part = r.t.Part(it.pos, it.hash, false)
		}
		want, _, more := a.part.Want()
		if !more {
			return r.commit(a)
		}
		fresh := len(want) == len(it.pos)
		st, err := r.subtree(a, it.pos, want[len(it.pos):], it.hash)
		if err != nil {
			return err
		}
		if fresh && st.cut != nil {
			node, large, err := st.large(it)
			if err == nil && large {
				a.part = nil
				if r.claim(a) {
					err = r.absorb(st, it, &node)
				}
			}
			if err != nil || large {
				st.close()
				return err
			}
		}
		complete, err := st.feed(a.part)
		took := st.took
		st.close()
		switch {
		case err != nil:
			return err
		case !complete && took == 0:
			return lie("an answer without what was asked for")
		}
	}
}

// commit records a complete part, unless another attempt was faster.
func (r *run) commit(a *attempt) error {
	if !r.claim(a) {
		return nil // ended drops the part
	}
	part := a.part
	a.part = nil
	id, err := part.Commit()
	if err != nil {
		return stored(err)
	}
	return r.deliver(a.it, id, false)
}

// large reports whether the subtree that comes next in the answer, and that the answer does not have all of, is estimated
// to be too large for one part, and returns its topmost node.
func (st *stream) large(it *item) (merkle.Outline, bool, error) {
	enc, err := st.peek()
	if err == io.EOF { //nolint:errorlint // the end is no error
		return merkle.Outline{}, false, nil
	}
	if err != nil {
		return merkle.Outline{}, false, err
	}
	node, err := readNode(enc, it.pos, it.hash)
	if err != nil {
		return merkle.Outline{}, false, err
	}
	rest := st.cut[len(it.pos):]
	if len(rest) <= len(node.Path) {
		return node, false, nil
	}
	here, part := 0.0, 1.0/16
	for _, nibble := range rest[len(node.Path):] {
		here += float64(nibble) * part
		part /= 16
	}
	size := st.r.c.sizes
	return node, float64(size.piece-st.read) > here*float64(size.part), nil
}

// absorb splits the subtree that comes next in an answer which is cut off within it: those children of which the answer
// has all are stored, the one that is cut off is begun, or split itself, and the others are left for later.
func (r *run) absorb(st *stream, it *item, node *merkle.Outline) error {
	kids := r.split(it, bytes.Clone(st.cur), node)
	st.advance()
	here := len(kids)
	for i, k := range kids {
		if bytes.Compare(k.pos, st.cut) > 0 {
			here = i
			break
		}
	}
	r.push(kids[here:]...)
	for i, k := range kids[:here] {
		if err := r.take(st, k); err != nil {
			r.push(kids[i+1 : here]...)
			return err
		}
	}
	return nil
}

// take stores a new item from an answer as far as that goes, and leaves the rest of it for later.
func (r *run) take(st *stream, it *item) error {
	if st.cut != nil && bytes.HasPrefix(st.cut, it.pos) && len(st.cut) > len(it.pos) {
		node, large, err := st.large(it)
		if err != nil {
			r.push(it)
			return err
		}
		if large {
			return r.absorb(st, it, &node)
		}
	}
	part := r.t.Part(it.pos, it.hash, false)
	complete, err := st.feed(part)
	if !complete {
		it.part = part
		r.push(it)
		return err
	}
	id, err := part.Commit()
	if err != nil {
		return stored(err)
	}
	return r.deliver(it, id, false)
}

// open splits a subtree of which some is here: its topmost node is fetched.
func (r *run) open(a *attempt) error {
	it := a.it
	nodes := nodeSet{}
	if err := r.single(a, []wanted{{it.pos, it.hash}}, nodes); err != nil {
		return err
	}
	enc := nodes[string(it.pos)]
	node, err := readNode(enc, it.pos, it.hash)
	if err != nil {
		return err
	}
	if !r.claim(a) {
		return nil
	}
	if len(node.Children) == 0 {
		return fmt.Errorf("%w: parts are recorded below a node without children", errStore)
	}
	r.push(r.split(it, enc, &node)...)
	return nil
}
