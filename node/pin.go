package node

import (
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
)

// checkPin compares the pinned block with the stored chain, as far as that has its height and it is committed.
func (n *Node) checkPin() error {
	pin := n.cfg.Sync.Pin
	if pin.Height == 0 || pin.Height > n.store.Committed().Height {
		return nil
	}
	have, err := n.store.TrustedHash(pin.Height)
	if errors.Is(err, blockstore.ErrPruned) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare the pinned block: %w", err)
	}
	return pin.check(pin.Height, have)
}

// check compares a block of the chain with the pin.
func (p Pin) check(h block.Height, hash block.Hash) error {
	if p.Height == 0 || p.Height != h || p.Hash == hash {
		return nil
	}
	return fmt.Errorf("%w: block %d is %v, pinned is %v", ErrPinned, h, hash, p.Hash)
}

// checkAll compares blocks with the pin.
func (p Pin) checkAll(finals []block.Final) error {
	for _, f := range finals {
		if err := p.check(f.Block.Header.Height, f.Block.Hash()); err != nil {
			return err
		}
	}
	return nil
}
