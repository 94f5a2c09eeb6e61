package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/archive"
	"github.com/baton-ha/baton/node/archive/objectstore"
	"github.com/baton-ha/baton/node/chain"
)

const bucketHelp = "Where the\n" +
	"store is and who asks say the config's object_store section or the standard AWS environment variables\n" +
	"(AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE ...)."

// bucketFlags say where an s3:// URL is.
type bucketFlags struct {
	endpoint, region string
	verbose          bool
}

func (f *bucketFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "object store of s3:// URLs, such as https://s3.example.com:9000 (default: the config's)")
	cmd.Flags().StringVar(&f.region, "region", "", "region of s3:// URLs (default: the config's)")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "say on stderr which objects are stored or read, and what is tried again")
}

func (f *bucketFlags) log(cmd *cobra.Command) zerolog.Logger {
	if !f.verbose {
		return zerolog.Nop()
	}
	return newLogger(cmd.ErrOrStderr(), config.Log{Level: "info", Format: "console"})
}

// open opens the bucket of a URL.
func (f *bucketFlags) open(cmd *cobra.Command, url, configFile string) (*objectstore.Bucket, error) {
	var cfg *config.Config
	if configFile != "" {
		var err error
		if cfg, err = config.Load(configFile); err != nil {
			return nil, err
		}
	}
	o, err := config.ObjectStoreOptions(cfg, os.Getenv)
	if err != nil {
		return nil, err
	}
	if f.endpoint != "" {
		o.Endpoint = f.endpoint
	}
	if f.region != "" {
		o.Region = f.region
	}
	b, err := objectstore.Open(url, o, f.log(cmd))
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	return b, nil
}

// exportSet adds to an object store what it has not of a folder's chain, or of the node's that has the folder open.
func exportSet(
	ctx context.Context, objects archive.Objects, log zerolog.Logger, dataDir string, g *chain.Genesis, r archive.Range,
) (s archive.Summary, err error) {
	hash, err := genesisHash(g)
	if err != nil {
		return s, err
	}
	key, open := g.Processor.PublicKey[:], openRunning(dataDir)
	reader, err := blockstore.OpenReader(nil, dataDir)
	switch {
	case errors.Is(err, blockstore.ErrInUse):
	case err != nil:
		return s, err
	default:
		defer func() { err = errors.Join(err, reader.Close()) }()
		if err := sameChain(reader, g); err != nil {
			return s, fmt.Errorf("%s: %w", dataDir, err)
		}
		open = archive.Pipe(reader, key)
	}
	return archive.NewSet(objects, hash, log).Export(ctx, open, key, r) //nolint:wrapcheck // says all
}

// exportWait is how long an export waits for another one of the same node.
const exportWait = 10 * time.Second

// openRunning asks the running node of a folder for archives.
func openRunning(dataDir string) archive.Open {
	return func(ctx context.Context, r archive.Range) (io.ReadCloser, error) {
		const pause = 100 * time.Millisecond
		for left := exportWait; ; left -= pause {
			body, err := api.AdminExport(ctx, dataDir, uint64(r.From), uint64(r.To), r.State)
			answer := (*api.Error)(nil)
			if err == nil || !errors.As(err, &answer) {
				return body, err
			}
			switch {
			case answer.Code == wire.CodeNotFound:
				return nil, fmt.Errorf("%w: %w", archive.ErrNothing, err)
			case answer.Code == wire.CodeGone:
				return nil, fmt.Errorf("%w: %w", blockstore.ErrPruned, err)
			case answer.Code != wire.CodeOverloaded || left <= 0:
				return nil, err
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil, ctx.Err()
			}
		}
	}
}
