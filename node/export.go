package node

import (
	"context"
	"errors"
	"io"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/archive"
)

// Export writes an archive of final blocks, with the state of the first one if asked for: see package archive. While it
// runs, no stored state is pruned.
func (n *Node) Export(ctx context.Context, w io.Writer, from, to block.Height, state bool) error {
	if state {
		defer n.checkpoints.hold()()
	}
	started := &startedWriter{w: w}
	_, err := archive.Export(ctx, started, n.store, n.signer[:], archive.Range{From: from, To: to, State: state})
	switch {
	case err == nil || started.begun:
	case errors.Is(err, archive.ErrNothing):
		return &api.Error{Status: 404, Code: wire.CodeNotFound, Message: err.Error()}
	case errors.Is(err, blockstore.ErrPruned):
		return &api.Error{Status: 410, Code: wire.CodeGone, Message: err.Error()}
	case errors.Is(err, archive.ErrNoState):
		return &api.Error{Status: 422, Code: wire.CodeRejected, Message: err.Error()}
	}
	return err
}

// startedWriter remembers whether anything was written.
type startedWriter struct {
	w     io.Writer
	begun bool
}

func (s *startedWriter) Write(b []byte) (int, error) {
	s.begun = true
	return s.w.Write(b)
}
