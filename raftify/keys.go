package raftify

import (
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
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
	return n.withKeyring("install key", func(r *memberlist.Keyring) error { return r.AddKey(key) })
}

// UseKey encrypts with an installed key from now on. See InstallKey.
func (n *Node) UseKey(key []byte) error {
	return n.withKeyring("use key", func(r *memberlist.Keyring) error { return r.UseKey(key) })
}

// RemoveKey refuses from now on what is encrypted with a key. The one in use cannot be removed. See InstallKey.
func (n *Node) RemoveKey(key []byte) error {
	return n.withKeyring("remove key", func(r *memberlist.Keyring) error { return r.RemoveKey(key) })
}

func (n *Node) withKeyring(what string, do func(*memberlist.Keyring) error) error {
	err := ErrNoKeyring
	live, _ := n.liveness()
	if g, ok := live.(*gossip); ok && g.ring != nil {
		err = do(g.ring)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
