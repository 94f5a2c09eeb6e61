package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api"
)

// profileBytes bounds a profile.
const profileBytes = 1 << 30

func newPprofCmd() *cobra.Command {
	var (
		file, out string
		seconds   int
	)
	cmd := &cobra.Command{
		Use: "pprof NAME --config FILE --out FILE", Short: "Take a profile of a running node", Args: cobra.ExactArgs(1),
		Long: "pprof writes a profile for `go tool pprof`: profile is the processor's time over --seconds; heap, allocs, goroutine,\n" +
			"mutex, block and threadcreate are as of now. trace is for `go tool trace`. Profiles are served on the admin socket\n" +
			"alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(seconds)*time.Second+30*time.Second)
			defer cancel()
			return writeProfile(ctx, cfg, args[0], seconds, out)
		},
	}
	addConfig(cmd, &file)
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	cmd.Flags().StringVar(&out, "out", "", "file to write (required)")
	cobra.CheckErr(cmd.MarkFlagRequired("out"))
	cmd.Flags().IntVar(&seconds, "seconds", 10, "how long to watch, for profile and trace: 1 to 300")
	return cmd
}

func writeProfile(ctx context.Context, cfg *config.Config, name string, seconds int, out string) error {
	url := "http://admin/debug/pprof/" + url.PathEscape(name) + "?seconds=" + strconv.Itoa(seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	client := api.AdminClient(cfg.Paths().DataDir)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.ID, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	if resp.StatusCode != http.StatusOK {
		return refusalOf(cfg.ID, resp)
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(resp.Body, profileBytes))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
