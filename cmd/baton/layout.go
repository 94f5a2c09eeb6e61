package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
)

func newMemberLayoutCmd() *cobra.Command {
	var (
		opts   config.JoinOptions
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "layout --config FILE --id ID --host HOST --out DIR", Short: "Write the files of a node that is to join", Args: cobra.NoArgs,
		Long: "layout writes DIR for a further node from the files of one that is there: a config, a key of its own, and copies of\n" +
			"genesis, processor key and gossip key. It changes nothing in the cluster, and prints the command that does. Copy DIR to\n" +
			"the new host's /etc/baton, and delete it here.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := config.Join(opts)
			if err != nil {
				return fmt.Errorf("layout: %w", err)
			}
			if asJSON {
				return printJSON(cmd, res)
			}
			return printf(cmd, "wrote %s; let it in with\n  baton member add --config %s --id %s --key %s --addr %s --peer-addr %s\n",
				res.Config, opts.Like, res.ID, res.PublicKey, res.Gossip, res.Peer)
		},
	}
	addConfig(cmd, &opts.Like)
	cmd.Flags().StringVar(&opts.ID, "id", "", "id of the new node (required)")
	cmd.Flags().StringVar(&opts.Host, "host", "", "its address or host name (required)")
	cmd.Flags().StringVar(&opts.Out, "out", "", "folder to write, empty or not there yet (required)")
	for _, name := range []string{"config", "id", "host", "out"} {
		cobra.CheckErr(cmd.MarkFlagRequired(name))
	}
	addJSON(cmd, &asJSON)
	return cmd
}
