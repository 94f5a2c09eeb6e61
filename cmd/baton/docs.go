package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/baton-ha/baton/config"
)

// newDocsCmd is what packagers call; operators read what it writes.
func newDocsCmd() *cobra.Command {
	cmd := group("docs", "Write what a package of baton has beside the program", newDocsManCmd(), newDocsConfigCmd())
	cmd.Hidden = true
	return cmd
}

func newDocsManCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "man --out DIR", Short: "Write the manual pages", Args: cobra.NoArgs,
		Long: "man writes one page a command, dated with SOURCE_DATE_EPOCH.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			head := &doc.GenManHeader{Section: "1", Source: "baton " + version, Manual: "baton"}
			if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
				seconds, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return fmt.Errorf("SOURCE_DATE_EPOCH is %q: want seconds", text)
				}
				date := time.Unix(seconds, 0).UTC()
				head.Date = &date
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, head, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write (required)")
	cobra.CheckErr(cmd.MarkFlagRequired("out"))
	return cmd
}

func newDocsConfigCmd() *cobra.Command {
	return &cobra.Command{
		Use: "config", Short: "Print a config.json with every key there is, at its default", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.DefaultConfig()
			c.ID, c.GenesisFile, c.StateDir, c.DataDir = "node1", "genesis.json", "/var/lib/baton", "/var/lib/baton/data"
			c.Raftify.MaxNodes, c.Raftify.Expect, c.Raftify.Encrypt = 3, 3, "file:keys/gossip.key"
			for i := range 3 {
				host := "10.0.0." + strconv.Itoa(i+1)
				c.Raftify.PeerList = append(c.Raftify.PeerList, net.JoinHostPort(host, "7000"))
				c.Peer.Peers = append(c.Peer.Peers, config.Peer{
					ID: "node" + strconv.Itoa(i+1), Addr: net.JoinHostPort(host, "7001"), PublicKey: strings.Repeat(strconv.Itoa(i+1), 64),
				})
			}
			c.Raftify.BindAddr, c.Peer.Listen, c.API.Listen = "10.0.0.1", "10.0.0.1:7001", "10.0.0.1:7002"
			if err := c.Validate(); err != nil {
				return err
			}
			data, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				return err
			}
			return printf(cmd, "%s\n", data)
		},
	}
}
