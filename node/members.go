package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// MemberChange makes one change of membership, wherever the leader is, and returns when a majority has it. See
// api.AdminBackend.
func (n *Node) MemberChange(ctx context.Context, req wire.MemberRequest) error {
	v := n.view.Load()
	if v.leader == "" {
		return api.NoLeader(0)
	}
	if v.leading && req.ID == n.cfg.ID && (req.Op == wire.MemberRemove || req.Op == wire.MemberLeave) {
		if err := n.mayGo(req); err != nil {
			return err
		}
		if err := n.LeaderTransfer(ctx, ""); err != nil {
			return err
		}
		if v = n.view.Load(); v.leading || v.leader == "" {
			return api.NoLeader(0)
		}
	}
	if v.leading {
		return n.changeMember(ctx, req)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return n.askLeader(ctx, v.leader, reqMember, body)
}

// takeMemberRequest is the leader's answer to another node that was asked.
func (n *Node) takeMemberRequest(ctx context.Context, payload []byte) error {
	if len(payload) > maxMemberRequest {
		return errMalformed
	}
	var req wire.MemberRequest
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !n.view.Load().leading {
		return fmt.Errorf("%s does not lead", n.cfg.ID)
	}
	return n.MemberChange(ctx, req)
}

const maxMemberRequest = 4 << 10

// changeMember is for the leader alone.
func (n *Node) changeMember(ctx context.Context, req wire.MemberRequest) error {
	id := core.NodeID(req.ID)
	var err error
	switch req.Op {
	case wire.MemberAdd:
		err = n.addMember(ctx, req)
	case wire.MemberRemove, wire.MemberLeave:
		if err := n.mayGo(req); err != nil {
			return err
		}
		if req.Op == wire.MemberLeave {
			err = n.raft.LeaveMember(ctx, id)
		} else {
			err = n.raft.RemoveMember(ctx, id)
		}
	case wire.MemberPromote:
		err = n.raft.PromoteMember(ctx, id)
	default:
		return api.Malformed(fmt.Sprintf("unknown operation %.32q", req.Op))
	}
	return n.memberError(req, err)
}

// addMember pins a node. A member that answers keeps its key unless force says otherwise: the new one would throw it out.
func (n *Node) addMember(ctx context.Context, req wire.MemberRequest) error {
	cfg := n.raft.Status().Cfg
	info, err := n.pinOf(cfg, req)
	if err != nil {
		return api.Rejected(err.Error())
	}
	if info.key == nil {
		return n.raft.InviteMember(ctx, core.NodeID(req.ID), "") //nolint:wrapcheck // memberError says all
	}
	if req.ID == n.cfg.ID {
		return api.Rejected(req.ID + " leads: it is a member")
	}
	for _, p := range n.peersOf(cfg) {
		if _, in := cfg.Member(core.NodeID(req.ID)); !in || p.ID != req.ID || p.PublicKey.Equal(info.key) || req.Force {
			continue
		}
		if n.answers(req.ID) || slices.Contains(n.link.Connected(), req.ID) { // one that stands still for a moment as well
			return api.Rejected(fmt.Sprintf("%s is a member that answers, with key %x: remove it first, or use --force if it is to "+
				"be locked out at once", req.ID, []byte(p.PublicKey)))
		}
	}
	return n.raft.InviteMember(ctx, core.NodeID(req.ID), info.encode()) //nolint:wrapcheck // memberError says all
}

func (n *Node) answers(id string) bool {
	return slices.ContainsFunc(n.raft.Members(), func(m raftify.Member) bool { return string(m.ID) == id && m.Alive })
}

// mayGo refuses to leave all to one disk, unless that is meant.
func (n *Node) mayGo(req wire.MemberRequest) error {
	cfg := n.raft.Status().Cfg
	voters := cfg.Voters()
	switch {
	case !cfg.IsVoter(core.NodeID(req.ID)):
		return nil // it does not count
	case len(voters) == 1:
		return api.Rejected(req.ID + " is the only voter: nothing would be left")
	case len(voters) == 2 && !req.Force:
		left := voters[0]
		if string(left) == req.ID {
			left = voters[1]
		}
		return api.Rejected(fmt.Sprintf("only %s would be left to vote, and all would be lost with its disk: use --force if that is meant", left))
	}
	return nil
}

// memberError makes what the election says an answer for people.
func (n *Node) memberError(req wire.MemberRequest, err error) error {
	rejected := func(format string, args ...any) error { return api.Rejected(fmt.Sprintf(format, args...)) }
	switch {
	case err == nil, errors.Is(err, core.ErrNoChange):
		return nil
	case errors.Is(err, core.ErrUnsafe):
		return rejected("without %s the voters that answer would be no majority, and nothing could be decided any more: "+
			"start one that is down first", req.ID)
	case errors.Is(err, core.ErrNotMember):
		return rejected("%q is no member; the members are %s", req.ID, n.memberIDs())
	case errors.Is(err, core.ErrNotLevel):
		return rejected("%s has not caught up with the leader, or does not answer it: it is promoted when it has", req.ID)
	case errors.Is(err, core.ErrSelf), errors.Is(err, core.ErrTooManyPins), errors.Is(err, core.ErrTooManyMembers):
		return rejected("%v", err)
	case errors.Is(err, core.ErrReconfiguring):
		return &api.Error{Status: 503, Code: wire.CodeUnavailable, Message: "a majority has not acknowledged the change; it may still come about"}
	case errors.Is(err, core.ErrNotLeader), errors.Is(err, raftify.ErrClosed):
		return &api.Error{Status: 503, Code: wire.CodeUnavailable, Message: err.Error()}
	}
	return err
}

func (n *Node) memberIDs() string {
	var ids []core.NodeID
	for _, m := range n.raft.Status().Cfg.Members {
		ids = append(ids, m.ID)
	}
	return listed(ids)
}

func (n *Node) voters() string { return listed(n.raft.Status().Cfg.Voters()) }

// listed is ids for a sentence.
func listed(ids []core.NodeID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}

// membersChanged acts on another configuration: who may connect, and what subscribers are told. Owner loop.
func (n *Node) membersChanged(old, now core.Config) {
	n.setPeers(now)
	for _, e := range memberEvents(old, now) {
		e.Alive = n.answers(e.ID)
		n.hub.publish(api.Event{Member: &e})
	}
}

// memberEvents are the differences between two configurations, by id.
func memberEvents(old, now core.Config) []wire.MemberEvent {
	var out []wire.MemberEvent
	tell := func(id core.NodeID, change string, voter bool) {
		out = append(out, wire.MemberEvent{ID: string(id), Change: change, Voter: voter, ConfigVersion: now.Key.Ver})
	}
	for _, m := range old.Members {
		if x, ok := now.Member(m.ID); !ok || x.Inc != m.Inc {
			tell(m.ID, "removed", false)
		}
	}
	for _, m := range now.Members {
		x, ok := old.Member(m.ID)
		switch {
		case !ok || x.Inc != m.Inc:
			tell(m.ID, "added", m.Voter)
		case m.Voter && !x.Voter:
			tell(m.ID, "promoted", true)
		case !m.Voter && x.Voter:
			tell(m.ID, "demoted", false)
		}
	}
	return out
}

// watchLife tells subscribers whose life changed, as this node sees it, since the last call.
func (n *Node) watchLife(last map[string]bool) map[string]bool {
	s := n.raft.Status()
	next := map[string]bool{}
	for _, m := range n.raft.Members() {
		id := string(m.ID)
		next[id] = m.Alive
		if was, known := last[id]; known && was != m.Alive {
			change := "dead"
			if m.Alive {
				change = "alive"
			}
			n.hub.publish(api.Event{Member: &wire.MemberEvent{
				ID: id, Change: change, Voter: m.Voter, Alive: m.Alive, ConfigVersion: s.Cfg.Key.Ver,
			}})
		}
	}
	return next
}
