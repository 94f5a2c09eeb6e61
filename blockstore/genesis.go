package blockstore

import (
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// NoteGenesis remembers that the store's genesis block is the one that something follows from that is named by source: the
// content of a genesis file, which takes long to make a block of. It rides on a later fsync; without it that is done again.
func (s *Store) NoteGenesis(source [32]byte) error {
	hash, err := s.HashAt(0)
	if err != nil {
		return fmt.Errorf("note genesis: %w", err)
	}
	rec := append(source[:], hash[:]...)
	if err := s.writeSide(&sideWrite{set: []pair{{[]byte(metaGenesis), rec}}}, false); err != nil {
		return fmt.Errorf("note genesis: %w", err)
	}
	return nil
}

// GenesisFrom returns the genesis block if it was noted to follow from source, nil if not. It reads the disk.
func (s *Store) GenesisFrom(source [32]byte) (*block.Block, error) {
	noted, ok, err := optional(s.db, "load noted genesis", metaGenesis, decodeNotedGenesis)
	if err != nil || !ok || noted.source != source {
		return nil, err
	}
	b, err := s.Block(0)
	if err != nil || b.Hash() != noted.hash {
		return nil, err
	}
	return b, nil
}

// notedGenesis is the record of NoteGenesis.
type notedGenesis struct{ source, hash block.Hash }

func decodeNotedGenesis(rec []byte) (n notedGenesis, err error) {
	if len(rec) != len(n.source)+len(n.hash) {
		return n, errors.Join(errRecord, fmt.Errorf("%d bytes", len(rec)))
	}
	copy(n.source[:], rec)
	copy(n.hash[:], rec[len(n.source):])
	return n, nil
}
