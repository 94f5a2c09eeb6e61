package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
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
	path := "/debug/pprof/" + url.PathEscape(name) + "?seconds=" + strconv.Itoa(seconds)
	return askAdmin(ctx, cfg, http.MethodGet, path, http.NoBody, func(answer io.Reader) error {
		f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, io.LimitReader(answer, profileBytes))
		if closed := f.Close(); err == nil {
			err = closed
		}
		return err
	})
}
