package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
)

func newConfigCheckCmd() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "check --config FILE", Short: "Check a config file and the files that it names", Args: cobra.NoArgs,
		Long: "check says what `baton run` would say about the configuration, environment overrides included, and starts\n" +
			"nothing. It looks at the config, the genesis file and the keys, their modes, and whether they belong together.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := openNode(file)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, struct {
					OK      bool           `json:"ok"`
					ChainID string         `json:"chain_id"`
					Config  *config.Config `json:"config"`
				}{true, n.Genesis.ChainID, n.Config})
			}
			return printf(cmd, "%s is good: %s of %d nodes, chain %s\n",
				file, n.Config.ID, len(n.Config.Peer.Peers), n.Genesis.ChainID)
		},
	}
	addConfig(cmd, &file)
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	addJSON(cmd, &asJSON)
	return cmd
}

// openNode loads a config with its files and checks all of them. Where there is no chain yet, the processor key has to
// be genesis's.
func openNode(file string) (*config.Node, error) {
	n, err := config.Open(file)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(n.Config.Paths().DataDir); err != nil || len(entries) == 0 {
		return n, n.CheckProcessorKey()
	}
	return n, nil
}

func addConfig(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the node's config.json")
}
