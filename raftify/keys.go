package raftify

import (
	"errors"
	"fmt"
)

// ErrNoKeyring is returned by the methods for keys when the node has no gossip, or no key.
var ErrNoKeyring = errors.New("the node has no gossip key")

// InstallKey makes a further gossip key known to a running node: from now on it accepts what is encrypted with any of
// its keys, and still encrypts with the one it did. All of raftify's messages go through the gossip, so this is how the
// cluster changes its key without stopping:
//
//  1. InstallKey(new) on every node,
//  2. UseKey(new) on every node,
//  3. RemoveKey(old) on every node.
//
// Each step is complete on all nodes before the next begins, and the configuration of each node is changed along with
// it (Config.Encrypt and Config.EncryptAlso), since a restart starts with what that says. A key has 16, 24 or 32 bytes.
func (n *Node) InstallKey(key []byte) error {
	g, err := n.keyed("install key")
	if err != nil {
		return err
	}
	if err := g.ring.AddKey(key); err != nil {
		return fmt.Errorf("install key: %w", err)
	}
	return nil
}

// UseKey encrypts with an installed key from now on. See InstallKey.
func (n *Node) UseKey(key []byte) error {
	g, err := n.keyed("use key")
	if err != nil {
		return err
	}
	if err := g.ring.UseKey(key); err != nil {
		return fmt.Errorf("use key: %w", err)
	}
	return nil
}

// RemoveKey refuses from now on what is encrypted with a key. The one in use cannot be removed. See InstallKey.
func (n *Node) RemoveKey(key []byte) error {
	g, err := n.keyed("remove key")
	if err != nil {
		return err
	}
	if err := g.ring.RemoveKey(key); err != nil {
		return fmt.Errorf("remove key: %w", err)
	}
	return nil
}

func (n *Node) keyed(what string) (*gossip, error) {
	live, _ := n.liveness()
	if g, ok := live.(*gossip); ok && g.ring != nil {
		return g, nil
	}
	return nil, fmt.Errorf("%s: %w", what, ErrNoKeyring)
}
