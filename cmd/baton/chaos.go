package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// chaosProgram is what `baton chaos` runs: a program of its own, so that a node's program holds nothing that serves only
// to hurt one.
const chaosProgram = "baton-chaos"

func newChaosCmd() *cobra.Command {
	return &cobra.Command{
		Use: "chaos [flags]", Short: "Hurt a cluster on this machine in every way there is and judge it",
		Long: "chaos runs the program baton-chaos, which starts clusters of this program on hosts of their own inside this machine,\n" +
			"partitions, kills, stops and restarts them, and judges from outside whether the chain forked, an acknowledged\n" +
			"payment was lost or a read was stale. `baton chaos --help` shows its flags. Needs Linux and root.",
		Example:            "  baton chaos --duration 10m --out report\n  baton chaos --list",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program's own file: %w", err)
			}
			program := filepath.Join(filepath.Dir(self), chaosProgram)
			if _, err := os.Stat(program); err != nil {
				program, err = exec.LookPath(chaosProgram)
				switch {
				case err == nil:
				case slices.Contains(args, "--help"), slices.Contains(args, "-h"):
					return cmd.Help() // of the flags only the program knows
				default:
					return fmt.Errorf("%s is neither beside %s nor in PATH: `make chaos-build` makes it", chaosProgram, self)
				}
			}
			run := exec.CommandContext(cmd.Context(), program, append([]string{"--baton", self}, args...)...)
			run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			// It ends its run and writes its report when asked to, which takes a while.
			run.Cancel = func() error { return run.Process.Signal(syscall.SIGTERM) }
			run.WaitDelay = 20 * time.Minute
			var exit *exec.ExitError
			if err := run.Run(); errors.As(err, &exit) {
				return fmt.Errorf("chaos: the run was not well (status %d)", exit.ExitCode())
			} else if err != nil {
				return fmt.Errorf("chaos: %w", err)
			}
			return nil
		},
	}
}
