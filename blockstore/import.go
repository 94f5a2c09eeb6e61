package blockstore

import (
	"errors"
	"fmt"
)

// ErrImporting is for whoever opens a folder into which a chain was not imported completely.
var ErrImporting = errors.New("a chain was not imported completely into this folder: run the same import again, or empty the folder")

// ImportState says whether a folder's chain was imported, and what that means for the node.
type ImportState byte

const (
	// ImportNone is a folder into which nothing was imported.
	ImportNone ImportState = iota
	// Importing is one whose import is not complete.
	Importing
	// ImportedJoins is one with an imported chain that may not be used to found a cluster.
	ImportedJoins
	// ImportedFounds is one with an imported chain that may.
	ImportedFounds
)

// Import returns the state of the folder's import.
func (s *Store) Import() ImportState { return s.state.Load().imported }

// SetImport records it, and blocks until that is durable.
func (s *Store) SetImport(i ImportState) error {
	if err := s.writeSide(&sideWrite{imported: &i}, true); err != nil {
		return fmt.Errorf("note import: %w", err)
	}
	return nil
}

func (g *group) setImport(i ImportState) error {
	g.st.imported = i
	return g.set([]byte(metaImport), []byte{byte(i)})
}

func decodeImport(b []byte) (ImportState, error) {
	if len(b) != 1 || b[0] > byte(ImportedFounds) {
		return 0, errRecord
	}
	return ImportState(b[0]), nil
}
