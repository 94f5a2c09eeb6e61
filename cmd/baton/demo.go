package main

import (
	"fmt"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/cmd/baton/internal/demo"
)

func newDemoCmd() *cobra.Command {
	opts := demo.DefaultOptions()
	var asJSON bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Kill the leader of a cluster on this machine and see that nothing is lost", Args: cobra.NoArgs,
		Long: "demo starts a cluster on loopback, each node a process of its own with its own files, lets many accounts pay each\n" +
			"other through all nodes at once, kills the leader with SIGKILL in mid-stream and starts it again. At the end it\n" +
			"fetches every block of every node and compares them, the signatures, the balances and the clients' receipts.\n" +
			"It ends by itself, with status 0 if nothing that was acknowledged was lost, duplicated or forked.",
		Example: "  baton demo\n  baton demo --nodes 5 --kills 10 --duration 1m --keep",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if opts.Binary, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program's own file: %w", err)
			}
			screen := &demo.Screen{}
			if !asJSON {
				screen.Out = cmd.OutOrStdout()
				screen.Terminal = cmd.OutOrStdout() == os.Stdout && isatty.IsTerminal(os.Stdout.Fd())
				screen.Colour = screen.Terminal && os.Getenv("NO_COLOR") == ""
			}
			report, err := demo.Run(cmd.Context(), opts, screen)
			if asJSON && report != nil {
				if printed := printJSON(cmd, report); err == nil {
					err = printed
				}
			}
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.Nodes, "nodes", opts.Nodes, "how many nodes, 3 or 5")
	f.IntVar(&opts.Kills, "kills", opts.Kills, "how many times the leader is killed")
	f.DurationVar(&opts.Duration, "duration", opts.Duration, "for how long payments are made, at least")
	f.IntVar(&opts.Clients, "clients", opts.Clients, "how many accounts pay, each one payment at a time")
	f.IntVar(&opts.BasePort, "base-port", 0, "first port (default: free ones are found)")
	f.StringVar(&opts.Dir, "dir", "", "folder for the files, empty or not there yet; they are kept (default: a temporary one)")
	f.BoolVar(&opts.Keep, "keep", false, "keep the temporary folder")
	addJSON(cmd, &asJSON)
	return cmd
}
