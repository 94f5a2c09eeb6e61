package raftify

import "github.com/baton-ha/baton/raftify/core"

// BasicHook is core.BasicHook: a hook to embed, of which one overrides what one needs.
type BasicHook = core.BasicHook
