package main

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/node/api/wire"
)

// memberChange is a command that has the leader make one change of membership. With self it is about the node itself.
func memberChange(op, use, short, long string, self bool) *cobra.Command {
	var (
		admin adminFlags
		id    string
	)
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !self && id == "" {
				return errors.New("--id is empty: name the member")
			}
			var members wire.Members
			err := admin.call(cmd.Context(), http.MethodPost, "/members", wire.MemberRequest{Op: op, ID: id}, &members)
			if err != nil {
				return err
			}
			if admin.asJSON {
				return printJSON(cmd, members)
			}
			return printf(cmd, "done\n")
		},
	}
	admin.add(cmd)
	if !self {
		cmd.Flags().StringVar(&id, "id", "", "id of the member")
		cobra.CheckErr(cmd.MarkFlagRequired("id"))
	}
	return cmd
}

func newMemberRemoveCmd() *cobra.Command {
	return memberChange(wire.MemberRemove, "remove --config FILE --id ID", "Take a member out of the cluster",
		"remove takes a voter or learner out at once. The cluster refuses when the voters that are left and answer would be\n"+
			"no majority. A node that was removed does not come back by itself unless its data folder is emptied.", false)
}

func newMemberPromoteCmd() *cobra.Command {
	return memberChange(wire.MemberPromote, "promote --config FILE --id ID", "Make a learner a voter",
		"promote makes a learner that has caught up a voter. Learners are promoted by themselves while there are fewer voters\n"+
			"than max_nodes.", false)
}

func newMemberLeaveCmd() *cobra.Command {
	return memberChange(wire.MemberRemove, "leave --config FILE", "Take this node out of the cluster",
		"leave takes the node of the config file out of the cluster at once; one that leads hands over first. The node goes on\n"+
			"running, outside: stop it afterwards.", true)
}
