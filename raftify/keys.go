package raftify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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
	return n.withKeyring("remove key", func(r *memberlist.Keyring) error {
		all := r.GetKeys()
		if i := slices.IndexFunc(all, func(k []byte) bool { return bytes.Equal(k, key) }); i > 0 {
			return keepKeys(r, slices.Delete(slices.Clone(all), i, i+1))
		}
		return r.RemoveKey(key)
	})
}

// SetKeys makes these the node's gossip keys, in one go: the first encrypts, the others are accepted too, all others are
// refused from now on. It is for those who keep the keys in a file; InstallKey says in which steps a cluster gets from one
// key to another. Nothing changes when one of the keys is not usable.
func (n *Node) SetKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return fmt.Errorf("set keys: %w", ErrNoKeyring)
	}
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(other []byte) bool { return bytes.Equal(other, k) }) {
			return fmt.Errorf("set keys: key %d stands twice", i+1)
		}
		if !keySize(len(k)) {
			return fmt.Errorf("set keys: key %d has %d bytes: must be 16, 24 or 32", i+1, len(k))
		}
	}
	return n.withKeyring("set keys", func(r *memberlist.Keyring) error {
		for _, k := range keys {
			if err := r.AddKey(k); err != nil {
				return err
			}
		}
		return keepKeys(r, keys)
	})
}

// keepKeys removes all keys of a ring but these, which it has, and encrypts with the first. The ring takes a key out of the
// middle by moving those behind it, under the eyes of those who read packets. So the keys that stay come first, each that is
// used moves to the front, and those that go go from the end.
func keepKeys(r *memberlist.Keyring, keys [][]byte) error {
	all := r.GetKeys()
	if same := slices.EqualFunc(all[:min(len(keys), len(all))], keys, bytes.Equal); !same {
		order := slices.Backward(keys)
		if len(all) == len(keys) {
			order = slices.Backward(keys[:1]) // none goes, so their order says nothing
		}
		for _, k := range order {
			if err := r.UseKey(k); err != nil {
				return err
			}
		}
	}
	for range len(all) - len(keys) {
		all := r.GetKeys()
		if err := r.RemoveKey(all[len(all)-1]); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) withKeyring(what string, do func(*memberlist.Keyring) error) error {
	err := ErrNoKeyring
	live, _ := n.liveness()
	if g, ok := live.(*gossip); ok && g.ring != nil {
		g.ringMu.Lock()
		err = do(g.ring)
		g.ringMu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
