package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

func newStatusCmd() *cobra.Command {
	var (
		api    apiFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "status --config FILE | --api URL", Short: "Show the cluster as one node sees it", Args: cobra.NoArgs,
		Long: "status prints one line a node: the leader is marked with a star; lag is how many blocks a node is behind the\n" +
			"highest one that the asked node knows of.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, c, done, err := api.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			status, err := firstStatus(ctx, c)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, status)
			}
			return printMembers(cmd, status.Members, status.Leader, status.Term)
		},
	}
	api.add(cmd, true, 10*time.Second)
	addJSON(cmd, &asJSON)
	return cmd
}

// printMembers prints one line a member, sorted by id, in columns.
func printMembers(cmd *cobra.Command, members []wire.Member, leader string, term uint64) error {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) })
	var top block.Height
	for _, m := range members {
		top = max(top, m.Height)
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, m := range members {
		mark, role, alive := " ", "follower", "alive"
		switch {
		case m.ID == leader:
			mark, role = "*", "leader"
		case m.Held:
			role = "left"
		case !m.Voter:
			role = "learner"
		}
		if !m.Alive {
			alive = "dead"
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\theight %d\tlag %d\tterm %d\n", mark, m.ID, role, alive, m.Height, top-m.Height, term) //nolint:errcheck // into memory
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printf(cmd, "%s", text.String())
}
