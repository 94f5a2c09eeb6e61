package sync

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/url"
	"strings"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// wanted is a node that is to be fetched by itself.
type wanted struct {
	pos  position
	hash merkle.Hash
}

// nodeSet is nodes that were compared with their hashes, by position.
type nodeSet map[string][]byte

func (n nodeSet) size() (bytes int) {
	for pos, enc := range n {
		bytes += len(pos) + len(enc)
	}
	return bytes
}

// below returns those at a position or below it.
func (n nodeSet) below(pos position) nodeSet {
	out := nodeSet{}
	for p, enc := range n {
		if strings.HasPrefix(p, string(pos)) {
			out[p] = enc
		}
	}
	return out
}

// compare fetches what of a subtree is not here already, level by level: where hashes are those of what is stored, nothing
// below is asked for.
func (r *run) compare(a *attempt) error {
	it := a.it
	r.mu.Lock()
	nodes := maps.Clone(it.nodes)
	r.mu.Unlock()
	if nodes == nil {
		nodes = nodeSet{}
	}
	have := map[string]merkle.NodeID{}
	for {
		missing, linked, err := r.survey(it, nodes, have)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			r.c.progress.change(func(p *Progress) { p.Linked += linked * it.weight })
			break
		}
		if len(nodes) > 1 && nodes.size() > r.c.sizes.piece {
			return r.divide(a, nodes, have)
		}
		err = r.single(a, missing[:min(len(missing), maxPositions)], nodes)
		r.mu.Lock()
		if len(nodes) > len(it.nodes) {
			it.nodes = maps.Clone(nodes)
		}
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if a.part != nil { // left by one that fetched it whole
		if err := a.part.Abort(); err != nil {
			return stored(err)
		}
	}
	a.part = r.t.Part(it.pos, it.hash, false)
	for {
		pos, _, more := a.part.Want()
		if !more {
			return r.commit(a)
		}
		err := error(nil)
		if enc, ok := nodes[string(pos)]; ok {
			err = a.part.Add(enc)
		} else {
			err = a.part.Link(have[string(pos)])
		}
		if err != nil {
			return stored(err)
		}
	}
}

// survey goes through what is known of a subtree and returns what is missing, parents before children, and how much of it
// is here already. What is found here is added to have.
func (r *run) survey(it *item, nodes nodeSet, have map[string]merkle.NodeID) (missing []wanted, linked float64, err error) {
	type place struct {
		wanted
		weight float64
	}
	open := []place{{wanted{it.pos, it.hash}, 1}}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		enc, ok := nodes[string(at.pos)]
		if !ok {
			id, ok := have[string(at.pos)]
			if !ok {
				if id, ok, err = r.have(at.pos, at.hash); err != nil {
					return nil, 0, err
				}
			}
			if ok {
				have[string(at.pos)] = id
				linked += at.weight
			} else {
				missing = append(missing, at.wanted)
			}
			continue
		}
		node, err := merkle.ReadNode(enc, len(at.pos))
		if err != nil {
			return nil, 0, stored(err)
		}
		for _, k := range node.Children {
			open = append(open, place{wanted{node.Below(at.pos, k), k.Hash}, at.weight / float64(len(node.Children))})
		}
	}
	return missing, linked, nil
}

// divide makes an item of each child of a subtree in which much is missing. They take along what was fetched of them.
func (r *run) divide(a *attempt, nodes nodeSet, have map[string]merkle.NodeID) error {
	it := a.it
	enc := nodes[string(it.pos)]
	node, err := merkle.ReadNode(enc, len(it.pos))
	if err != nil {
		return stored(err)
	}
	if !r.claim(a) {
		return nil
	}
	var left []*item
	for _, k := range r.split(it, enc, &node) {
		if id, ok := have[string(k.pos)]; ok {
			if err := r.deliver(k, id, true); err != nil {
				return err
			}
			continue
		}
		k.nodes = nodes.below(k.pos)
		left = append(left, k)
	}
	r.push(left...)
	return nil
}

// single fetches nodes by themselves, as many of them as an answer has, in their order, at least one.
func (r *run) single(a *attempt, list []wanted, nodes nodeSet) error {
	var body strings.Builder
	for i, w := range list {
		if body.Len()+len(w.pos)+1 > maxPositionsBytes {
			list = list[:i]
			break
		}
		body.WriteString(w.pos.String())
		body.WriteByte('\n')
	}
	ans, err := a.src.ask(a.ctx, pathNodes, url.Values{"root": {r.root.String()}}, body.String(), pieceBytes+maxNodeBytes)
	if err != nil {
		return err
	}
	f, took := newFrames(ans), 0
	defer func() {
		ans.Close()
		if took > 0 {
			r.moved(took)
		}
		r.c.progress.change(func(p *Progress) { p.Bytes += uint64(ans.bytes) })
	}()
	for _, w := range list {
		enc, err := f.next(maxNodeBytes)
		if errors.Is(err, io.EOF) && took > 0 {
			return nil
		}
		if err != nil {
			return wire("read node: %w", err)
		}
		if _, err := readNode(enc, w.pos, w.hash); err != nil {
			return err
		}
		nodes[string(w.pos)] = bytes.Clone(enc)
		took++
	}
	return nil
}
