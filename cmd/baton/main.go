package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit status. ctx ends when the process is asked to stop.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		if status, ok := errors.AsType[exitError](err); ok {
			return int(status)
		}
		fmt.Fprintln(stderr, "baton: "+oneLine(err)) //nolint:errcheck // there is nobody left to tell
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "baton",
		Short: "A replicated chain that one node at a time signs",
		Long: "baton runs one node of a replicated chain, lays out new clusters and talks to running ones.\n" +
			"One node holds the baton at a time: it alone proposes and signs; any other takes over when it dies.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		newInitCmd(), newRunCmd(), newDemoCmd(), newDocsCmd(), newChaosCmd(), newStatusCmd(), newSyncCmd(), newReloadCmd(),
		newVersionCmd(),
		group("config", "Look at configuration files", newConfigCheckCmd()),
		group("key", "Make and look at keys", newKeyNewCmd(), newKeyShowCmd(), newKeyGossipCmd(), newKeyEncryptCmd(), newKeyDecryptCmd()),
		group("debug", "Look into a running node", newPprofCmd()),
		group("tx", "Send transactions", newTxTransferCmd(), newTxSendCmd()),
		group("block", "Look at blocks", newBlockShowCmd(), newBlockVerifyCmd(), newBlockExportCmd(), newBlockImportCmd()),
		group("proof", "Check proofs of the state", newProofVerifyCmd()),
		group("leader", "Look at the leadership, and hand it over", newLeaderShowCmd(), newLeaderTransferCmd()),
		group("member", "Look at the members of the cluster, and change them", newMemberListCmd(), newMemberLayoutCmd(), newMemberAddCmd(),
			newMemberRemoveCmd(), newMemberPromoteCmd(), newMemberLeaveCmd()),
	)
	return root
}

// group is a command that only holds others; alone, or with a name that none of them has, it is an error.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	names := make([]string, len(subs))
	for i, sub := range subs {
		names[i] = sub.Name()
	}
	g := &cobra.Command{
		Use: use, Short: short,
		RunE: func(_ *cobra.Command, args []string) error {
			what := "no command"
			if len(args) > 0 {
				what = fmt.Sprintf("unknown command %q", args[0])
			}
			return fmt.Errorf("%s after baton %s: want one of %s", what, use, strings.Join(names, ", "))
		},
	}
	g.AddCommand(subs...)
	return g
}

// oneLine is err's text on one line, the parts of joined errors separated by semicolons.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// addJSON adds the flag that every command that prints data has.
func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

// printJSON writes v for programs: indented, one value, texts left readable.
func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printf writes to stdout.
func printf(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	return err
}
