package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
)

func newInitCmd() *cobra.Command {
	var (
		opts                 config.InitOptions
		fund                 []string
		listeners, approvers string
		asJSON               bool
	)
	cmd := &cobra.Command{
		Use:   "init --out DIR [--nodes N]",
		Short: "Write the files of a new cluster",
		Long: "init writes DIR/genesis.json and, for every node I, DIR/nodeI/config.json and DIR/nodeI/keys.\n" +
			"Without --hosts all nodes are on 127.0.0.1, ten ports apart; with it, every node uses base-port (gossip),\n" +
			"base-port+1 (peers) and base-port+2 (API) of its own host. DIR must be empty or not there.\n" +
			"All keys are made here: move each node's folder, and genesis.json, to its host and delete the rest.",
		Example: "  baton init --nodes 3 --out cluster --fund $(baton key new --out me.json)=1000000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("nodes") && opts.Nodes < 1 {
				return fmt.Errorf("--nodes is %d: want at least 1", opts.Nodes)
			}
			if !cmd.Flags().Changed("nodes") && len(opts.Hosts) > 0 {
				opts.Nodes = len(opts.Hosts)
			}
			var err error
			if opts.Fund, err = parseFund(fund); err != nil {
				return err
			}
			if opts.Listeners, err = parseQuorum("--listeners", listeners); err != nil {
				return err
			}
			if opts.Approvers, err = parseQuorum("--approvers", approvers); err != nil {
				return err
			}
			res, err := config.Init(opts)
			if err != nil {
				return fmt.Errorf("init: %w", err)
			}
			if asJSON {
				return printJSON(cmd, res)
			}
			if err := printf(cmd, "wrote %s of chain %s; start its nodes with\n", filepath.Join(res.Dir, "genesis.json"), res.ChainID); err != nil {
				return err
			}
			for i, path := range res.Configs {
				if err := printf(cmd, "  %s    # %s\n", startCommand(opts, i, path), res.APIURLs[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.Nodes, "nodes", 3, "how many nodes")
	f.StringVar(&opts.Out, "out", "", "folder to write, empty or not there yet (required)")
	f.StringVar(&opts.ChainID, "chain-id", "", "name of the chain (default: baton- and 8 random digits)")
	f.StringSliceVar(&opts.Hosts, "hosts", nil, "one address or host name a node: a,b,c")
	f.IntVar(&opts.BasePort, "base-port", 7000, "first port")
	f.StringArrayVar(&fund, "fund", nil, "PUBKEYHEX=AMOUNT: first native balance of an account; may be repeated")
	f.BoolVar(&opts.Systemd, "systemd", false, "lay nodeI out for the packaged units: it goes to /etc/baton of its host, or /etc/baton/nodeI without --hosts")
	f.StringVar(&listeners, "listeners", "", "K/N: make N listener keys of which K are a quorum")
	f.StringVar(&approvers, "approvers", "", "K/N: make N approver keys of which K are a quorum")
	addJSON(cmd, &asJSON)
	cobra.CheckErr(cmd.MarkFlagRequired("out"))
	return cmd
}

func parseFund(list []string) (map[string]string, error) {
	fund := map[string]string{}
	for _, text := range list {
		key, amount, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--fund is %q: want PUBKEYHEX=AMOUNT", text)
		}
		key = strings.ToLower(key)
		if _, twice := fund[key]; twice {
			return nil, fmt.Errorf("--fund names %s twice: add the amounts up", key)
		}
		fund[key] = amount
	}
	return fund, nil
}

func parseQuorum(flag, text string) (config.KofN, error) {
	if text == "" {
		return config.KofN{}, nil
	}
	q, err := config.ParseKofN(text)
	if err != nil {
		return q, fmt.Errorf("%s: %w", flag, err)
	}
	return q, nil
}

// startCommand is what a person types to start node i, whose config.json was written to path.
func startCommand(opts config.InitOptions, i int, path string) string {
	folder := filepath.Dir(path)
	switch {
	case !opts.Systemd:
		return "baton run --config " + path
	case len(opts.Hosts) == 0:
		return fmt.Sprintf("cp -a %s /etc/baton/ && systemctl enable --now baton@%s", folder, filepath.Base(folder))
	default:
		return fmt.Sprintf("scp -pr %s/. root@%s:/etc/baton/ && ssh root@%[2]s systemctl enable --now baton", folder, opts.Hosts[i])
	}
}
