package raftifytest

import "github.com/baton-ha/baton/raftify/core"

// NewApp returns a stand-in for an application: its takeover is done once it is durable, which counts as a commit as
// well. ready is asked at each handover whether its target will ever be level; nil: it is at once.
func NewApp(ready func() bool) core.Hook {
	if ready == nil {
		ready = func() bool { return true }
	}
	return &app{draw: ready, ready: true}
}

type app struct {
	core.BasicHook
	draw  func() bool
	ready bool
}

func (a *app) Report() []byte                       { return []byte("report") }
func (a *app) TransferReady(core.NodeID) bool       { return a.ready }
func (a *app) Transferring(_ core.Instant, on bool) { a.ready = !on || a.draw() }
