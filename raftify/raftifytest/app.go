package raftifytest

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// NewApp returns a stand-in for an application: its takeover is done once it is durable, which counts as a commit as
// well. ready is asked at each handover whether its target will ever be level; nil: it is at once.
func NewApp(ready func() bool) core.Hook {
	if ready == nil {
		ready = func() bool { return true }
	}
	return &app{draw: ready, ready: true}
}

type app struct {
	draw  func() bool
	cmds  []core.Command
	leads core.Term
	ready bool
}

func (a *app) cmd(k core.CommandKind, t core.Term) {
	a.cmds = append(a.cmds, core.Command{Kind: k, Term: t})
}

func (a *app) Observe(core.Instant, core.Status)    {}
func (a *app) Report() []byte                       { return []byte("report") }
func (a *app) Tick(core.Instant)                    {}
func (a *app) CampaignDelay() time.Duration         { return 0 }
func (a *app) MayLead() bool                        { return true }
func (a *app) TransferReady(core.NodeID) bool       { return a.ready }
func (a *app) MayReconfigure() bool                 { return true }
func (a *app) Level(core.NodeID) bool               { return true }
func (a *app) Transferring(_ core.Instant, on bool) { a.ready = !on || a.draw() }

func (a *app) Elected(_ core.Instant, t core.Term, _ []core.Report) {
	a.leads = 0
	a.cmd(core.CmdTakeoverWriting, t)
}

func (a *app) TakeoverDurable(_ core.Instant, t core.Term) {
	a.leads = t
	a.cmd(core.CmdTakeoverDone, t)
	a.cmd(core.CmdCommitted, t)
}

func (a *app) HeartbeatAttachment() []byte {
	if a.leads == 0 {
		return nil
	}
	return []byte{1}
}

func (a *app) LeaderHeartbeat(_ core.Instant, _ core.NodeID, t core.Term, att []byte) {
	if len(att) > 0 {
		a.cmd(core.CmdCommitted, t)
	}
}

func (a *app) Commands() []core.Command {
	c := a.cmds
	a.cmds = nil
	return c
}
