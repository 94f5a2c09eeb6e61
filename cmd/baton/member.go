package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
)

// memberChange is a command that has the leader make one change of membership.
type memberChange struct {
	admin adminFlags
	req   wire.MemberRequest
	wait  time.Duration
	until func(m wire.Members) bool // what wait waits for
	done  func(m wire.Members) string
}

func (c *memberChange) command(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	c.admin.add(cmd)
	return cmd
}

func (c *memberChange) needID(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&c.req.ID, "id", "", what)
	cobra.CheckErr(cmd.MarkFlagRequired("id"))
}

func (c *memberChange) canForce(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&c.req.Force, "force", false, what)
}

func (c *memberChange) canWait(cmd *cobra.Command, what string) {
	cmd.Flags().DurationVar(&c.wait, "wait", 0, what)
}

func (c *memberChange) run(cmd *cobra.Command) error {
	if f := cmd.Flags().Lookup("id"); f != nil && c.req.ID == "" {
		return errors.New("--id is empty: name the member")
	}
	var members wire.Members
	if err := c.admin.call(cmd.Context(), http.MethodPost, "/members", c.req, &members); err != nil {
		return err
	}
	if c.wait > 0 {
		var err error
		if members, err = c.await(cmd.Context()); err != nil {
			return err
		}
	}
	if c.admin.asJSON {
		return printJSON(cmd, members)
	}
	return printf(cmd, "%s\n", c.done(members))
}

// await asks for the members again and again until they are as wanted.
func (c *memberChange) await(ctx context.Context) (wire.Members, error) {
	limit := time.NewTimer(c.wait)
	defer limit.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		var members wire.Members
		if err := c.admin.call(ctx, http.MethodGet, "/members", nil, &members); err != nil {
			return members, err
		}
		if c.until(members) {
			return members, nil
		}
		select {
		case <-again.C:
		case <-limit.C:
			return members, fmt.Errorf("%s does not vote after %v: does it run, and is its log quiet? It goes on trying", c.req.ID, c.wait)
		case <-ctx.Done():
			return members, ctx.Err()
		}
	}
}

func votes(m wire.Members, id string) bool {
	return slices.ContainsFunc(m.Members, func(x wire.Member) bool { return x.ID == id && x.Voter })
}

// tolerance says how many voters may fail.
func tolerance(m wire.Members) string {
	voters := 0
	for _, x := range m.Members {
		if x.Voter {
			voters++
		}
	}
	switch spare := voters - m.Quorum; spare {
	case 0:
		return fmt.Sprintf("%d voters, none of which may fail", voters)
	default:
		return fmt.Sprintf("%d voters, of which %d may fail", voters, spare)
	}
}

func newMemberAddCmd() *cobra.Command {
	c := &memberChange{req: wire.MemberRequest{Op: wire.MemberAdd}}
	c.until = func(m wire.Members) bool { return votes(m, c.req.ID) }
	c.done = func(m wire.Members) string {
		switch {
		case votes(m, c.req.ID):
			return c.req.ID + " is a voter: " + tolerance(m)
		case slices.Contains(m.Invited, c.req.ID):
			return c.req.ID + " may join: start it now; it follows as a learner and votes when it has caught up"
		}
		return c.req.ID + " is a member and votes when it has caught up"
	}
	cmd := c.command("add --config FILE --id ID [--key HEX --addr HOST:PORT [--peer-addr HOST:PORT]]", "Let a node into the cluster",
		"add lets a node join that is in nobody's config file, or that was removed. Its key and addresses become part of the\n"+
			"cluster's configuration: every node, also one that is down now, accepts the newcomer, under any later leader. The\n"+
			"newcomer's own config file must name itself and the others (peer.peers, raftify.peer_list), and have the cluster's\n"+
			"gossip key, genesis and processor key. It joins as a learner, catches up and is then promoted.\n\n"+
			"For a node that the leader's config file has, or that was added before, --id alone is enough.")
	c.needID(cmd, "id of the node")
	cmd.Flags().StringVar(&c.req.Key, "key", "", "public key of the node, 64 hex digits (baton key show)")
	cmd.Flags().StringVar(&c.req.Addr, "addr", "", "host:port of its gossip")
	cmd.Flags().StringVar(&c.req.PeerAddr, "peer-addr", "", "host:port of its peer link; the port after the gossip's if not given")
	c.canForce(cmd, "replace the key of a member that answers, which locks it out at once")
	c.canWait(cmd, "wait so long until it votes")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		c.req.Key = strings.ToLower(c.req.Key)
		switch {
		case c.req.Key == "" && (c.req.Addr != "" || c.req.PeerAddr != ""):
			return errors.New("--addr and --peer-addr need --key: the node proves itself with it")
		case c.req.Key == "":
			return nil
		case c.req.Addr == "":
			return errors.New("--key needs --addr: where the node's gossip is")
		}
		if _, err := config.ParsePublicKey(c.req.Key); err != nil {
			return fmt.Errorf("--key is %.80q: want a public key of 64 hex digits, see baton key show", c.req.Key)
		}
		return nil
	}
	return cmd
}

func newMemberRemoveCmd() *cobra.Command {
	c := &memberChange{req: wire.MemberRequest{Op: wire.MemberRemove}}
	c.done = func(m wire.Members) string { return c.req.ID + " is out: " + tolerance(m) }
	cmd := c.command("remove --config FILE --id ID", "Take a member out of the cluster",
		"remove takes a voter or learner out at once, or an invitation back; a leader hands over first. Its key is no longer\n"+
			"accepted, and it does not come back, not even with an empty data folder, until it is added again. The cluster refuses\n"+
			"when the voters that are left and answer would be no majority.")
	c.needID(cmd, "id of the member")
	c.canForce(cmd, "also when only one voter is left")
	return cmd
}

func newMemberPromoteCmd() *cobra.Command {
	c := &memberChange{req: wire.MemberRequest{Op: wire.MemberPromote}}
	c.done = func(m wire.Members) string { return c.req.ID + " is a voter: " + tolerance(m) }
	cmd := c.command("promote --config FILE --id ID", "Make a learner a voter",
		"promote makes a learner that has caught up a voter. Learners are promoted by themselves, but for those that left\n"+
			"(baton member leave) and, unless they were added, those beyond max_nodes voters.")
	c.needID(cmd, "id of the learner")
	return cmd
}

func newMemberLeaveCmd() *cobra.Command {
	c := &memberChange{req: wire.MemberRequest{Op: wire.MemberLeave}}
	c.done = func(m wire.Members) string {
		return "this node no longer votes: " + tolerance(m) + "; baton member promote makes it a voter again"
	}
	cmd := c.command("leave --config FILE", "Have this node give up its vote",
		"leave makes the node of the config file a learner at once; one that leads hands over first. It goes on following, and\n"+
			"may be stopped for as long as anybody likes: the others no longer count it. It votes again after baton member promote.")
	c.canForce(cmd, "also when only one voter is left")
	return cmd
}
