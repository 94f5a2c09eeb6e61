package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cosmos/iavl"
	ics23 "github.com/cosmos/ics23/go"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// keepVersions is how many saved versions stay.
const keepVersions = 4

// authMap is what is compared.
type authMap interface {
	// update changes keys and computes the root.
	update(keys, values [][]byte) error
	// save makes the map durable and prunes old versions.
	save() error
	// prove makes a proof of a key.
	prove(key []byte) (proof any, sizeBytes int, err error)
	// check checks one against the root.
	check(key, value []byte, proof any) error
}

// ours is package merkle on Pebble, as blockstore stores it.
type ours struct {
	db    *pebble.DB
	m     *merkle.Map
	next  merkle.NodeID
	stale [][]merkle.NodeID // of the saves whose predecessor is kept
}

func newOurs(db *pebble.DB, cacheBytes int64) *ours {
	o := &ours{db: db, next: 1}
	o.m = merkle.Empty(o, merkle.WithCacheBytes(cacheBytes))
	return o
}

func nodeKey(id merkle.NodeID) []byte { return binary.BigEndian.AppendUint64([]byte{'n'}, uint64(id)) }

// Node implements merkle.NodeStore.
func (o *ours) Node(id merkle.NodeID) ([]byte, error) {
	v, err := get(o.db, nodeKey(id))
	if err == nil && v == nil {
		err = errors.New("no such node")
	}
	return v, err
}

func (o *ours) update(keys, values [][]byte) (err error) {
	changes := make([]merkle.Change, len(keys))
	for i := range keys {
		changes[i] = merkle.Change{Key: keys[i], Value: values[i]}
	}
	if o.m, err = o.m.Update(changes); err == nil {
		o.m.Root()
	}
	return err
}

func (o *ours) save() error {
	o.m = o.m.Seal()
	b := o.db.NewBatch()
	saved, err := o.m.Save(o.next, func(id merkle.NodeID, rec []byte) error {
		if err := b.Set(nodeKey(id), rec, nil); err != nil || b.Len() < 256<<10 {
			return err
		}
		full := b
		b = o.db.NewBatch()
		return errors.Join(full.Commit(pebble.NoSync), full.Close())
	})
	if err != nil {
		return err
	}
	if o.stale = append(o.stale, saved.Stale); len(o.stale) == keepVersions {
		for _, id := range o.stale[0] {
			if err := b.Delete(nodeKey(id), nil); err != nil {
				return err
			}
		}
		o.stale = o.stale[1:]
	}
	if err := errors.Join(b.Set([]byte("root"), binary.BigEndian.AppendUint64(nil, uint64(saved.Root)), nil), b.Commit(pebble.Sync), b.Close()); err != nil {
		return err
	}
	o.next = saved.Next
	o.m.MarkStored()
	return nil
}

func (o *ours) prove(key []byte) (any, int, error) {
	p, err := o.m.Prove(key)
	return p, len(bytes.Join(p, nil)), err
}

func (o *ours) check(key, value []byte, proof any) error {
	got, ok, err := merkle.VerifyProof(o.m.Root(), key, proof.([][]byte))
	if err == nil && (!ok || !bytes.Equal(got, value)) {
		err = errors.New("it proves something else")
	}
	return err
}

// theirs is cosmos/iavl on Pebble.
type theirs struct {
	t *iavl.MutableTree
}

func newTheirs(db *pebble.DB, cacheBytes int64) *theirs {
	return &theirs{t: iavl.NewMutableTree(iavlDB{db}, int(cacheBytes/300), true, iavl.NewNopLogger(), iavl.SyncOption(true))}
}

func (t *theirs) update(keys, values [][]byte) error {
	for i := range keys {
		if _, err := t.t.Set(keys[i], values[i]); err != nil {
			return err
		}
	}
	t.t.WorkingHash()
	return nil
}

func (t *theirs) save() error {
	_, version, err := t.t.SaveVersion()
	if err != nil || version <= keepVersions {
		return err
	}
	return t.t.DeleteVersionsTo(version - keepVersions)
}

func (t *theirs) prove(key []byte) (any, int, error) {
	p, err := t.t.GetMembershipProof(key)
	if err != nil {
		return nil, 0, err
	}
	b, err := p.Marshal()
	return p, len(b), err
}

func (t *theirs) check(key, value []byte, proof any) error {
	if !ics23.VerifyMembership(ics23.IavlSpec, t.t.Hash(), proof.(*ics23.CommitmentProof), key, value) {
		return fmt.Errorf("no proof of %x", key)
	}
	return nil
}
