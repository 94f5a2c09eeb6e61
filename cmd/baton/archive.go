package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/archive"
	"github.com/baton-ha/baton/node/archive/objectstore"
	"github.com/baton-ha/baton/node/chain"
)

// moved is what `block export --json` and `block import --json` print.
type moved struct {
	File         string       `json:"file"`
	ChainID      string       `json:"chain_id"`
	From         block.Height `json:"from"`
	To           block.Height `json:"to"`
	Blocks       uint64       `json:"blocks"`
	Transactions uint64       `json:"transactions"`
	StateNodes   uint64       `json:"state_nodes"`
	Bytes        int64        `json:"bytes,omitempty"`
	Damaged      []string     `json:"damaged,omitempty"`
}

func newMoved(file string, s *archive.Summary) moved {
	return moved{
		File: file, ChainID: s.ChainID, From: s.From, To: s.To, Blocks: s.Blocks, Transactions: s.Transactions,
		StateNodes: s.Nodes, Bytes: s.Bytes,
	}
}

// folderFlags name a data folder and the chain that it is of.
type folderFlags struct {
	dataDir, genesis, config string
}

func (f *folderFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "data folder (default: the config's)")
	cmd.Flags().StringVar(&f.genesis, "genesis", "", "genesis.json of the chain (default: the config's)")
	addConfig(cmd, &f.config)
	cmd.MarkFlagsOneRequired("genesis", "config")
}

// open reads the genesis and finds the folder.
func (f *folderFlags) open() (dir string, g *chain.Genesis, err error) {
	if g, err = openGenesis(f.genesis, f.config); err != nil {
		return "", nil, err
	}
	if f.dataDir != "" {
		return f.dataDir, g, nil
	}
	if f.config == "" {
		return "", nil, errors.New("no data folder named: want --data-dir DIR, or --config FILE")
	}
	cfg, err := config.Load(f.config)
	if err != nil {
		return "", nil, err
	}
	return cfg.Paths().DataDir, g, nil
}

func newBlockExportCmd() *cobra.Command {
	var (
		folder folderFlags
		bucket bucketFlags
		out    string
		from   uint64
		to     uint64
		r      archive.Range
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "export --out FILE|s3://BUCKET/PREFIX --config FILE | --data-dir DIR --genesis FILE", Args: cobra.NoArgs,
		Short: "Write the chain, or its end with the state, to one file or to an object store",
		Long: "export writes final blocks with their signatures to a file that `baton block import` makes a data folder of. The node\n" +
			"may run: it is then asked through its admin socket. With --state the file begins at a stored state, the newest one\n" +
			"unless --from says otherwise, and needs nothing that is below. Everything is checked on the way.\n\n" +
			"With s3:// it adds to a bucket what is not there yet, as objects that each are such a file; several nodes may do it.\n" +
			"Give --from to store blocks anew. " + bucketHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.From, r.To = block.Height(from), block.Height(to)
			dir, g, err := folder.open()
			if err != nil {
				return err
			}
			if objectstore.IsURL(out) {
				objects, err := bucket.open(cmd, out, folder.config)
				if err != nil {
					return err
				}
				s, err := exportSet(cmd.Context(), objects, bucket.log(cmd), dir, g, r)
				if err != nil {
					return fmt.Errorf("%s: %w", out, err)
				}
				return printMoved(cmd, "exported", newMoved(out, &s), asJSON)
			}
			s, err := exportTo(cmd.Context(), out, dir, g, r)
			if err != nil {
				return err
			}
			return printMoved(cmd, "exported", newMoved(out, &s), asJSON)
		},
	}
	folder.add(cmd)
	bucket.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to write, or s3://BUCKET/PREFIX to add to")
	cobra.CheckErr(cmd.MarkFlagRequired("out"))
	cmd.Flags().Uint64Var(&from, "from", 0, "first height (default: the first one there is; with --state the newest stored state)")
	cmd.Flags().Uint64Var(&to, "to", 0, "last height (default: the newest final one)")
	cmd.Flags().BoolVar(&r.State, "state", false, "begin with a stored state")
	addJSON(cmd, &asJSON)
	return cmd
}

func printMoved(cmd *cobra.Command, what string, m moved, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, m)
	}
	if m.Blocks == 0 && objectstore.IsURL(m.File) {
		return printf(cmd, "%s: nothing new\n", m.File)
	}
	state := ""
	if m.StateNodes > 0 {
		state = fmt.Sprintf(", the state of block %d", m.From)
	}
	if len(m.Damaged) > 0 {
		state += ", without damaged objects: " + strings.Join(m.Damaged, ", ")
	}
	return printf(cmd, "%s: %s blocks %d to %d of %s, %d transactions%s\n", m.File, what, m.From, m.To, m.ChainID, m.Transactions, state)
}

// exportTo writes the file under another name, and gives it its own when it is whole and on the disk.
func exportTo(ctx context.Context, out, dataDir string, g *chain.Genesis, r archive.Range) (s archive.Summary, err error) {
	f, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".*.part")
	if err != nil {
		return s, fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	s, err = export(ctx, f, dataDir, g, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return s, err
	}
	return s, os.Rename(f.Name(), out)
}

// export writes an archive of a folder, or of the node that has it open.
func export(ctx context.Context, w io.Writer, dataDir string, g *chain.Genesis, r archive.Range) (s archive.Summary, err error) {
	reader, err := blockstore.OpenReader(nil, dataDir)
	if errors.Is(err, blockstore.ErrInUse) {
		return exportRunning(ctx, w, dataDir, r)
	}
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if err := sameChain(reader, g); err != nil {
		return s, fmt.Errorf("%s: %w", dataDir, err)
	}
	buf := bufio.NewWriterSize(w, 1<<20)
	if s, err = archive.Export(ctx, buf, reader, g.Processor.PublicKey[:], r); err != nil {
		return s, err
	}
	return s, buf.Flush()
}

func sameChain(r *blockstore.Reader, g *chain.Genesis) error {
	want, err := genesisHash(g)
	if err != nil {
		return err
	}
	if r.Empty() {
		return errors.New("there is no chain in it")
	}
	zero, err := r.Block(0)
	if err == nil && zero.Hash() != want {
		err = fmt.Errorf("it belongs to another chain: its genesis is %s, the genesis file's is %s", zero.Hash(), want)
	}
	return err
}

// exportRunning asks a running node, and reads what it sends as an import would, so that half a file never counts.
func exportRunning(ctx context.Context, w io.Writer, dataDir string, r archive.Range) (archive.Summary, error) {
	body, err := api.AdminExport(ctx, dataDir, uint64(r.From), uint64(r.To), r.State)
	if err != nil {
		return archive.Summary{}, err
	}
	defer body.Close() //nolint:errcheck // only read from
	count := new(byteCount)
	a, err := archive.NewReader(bufio.NewReaderSize(io.TeeReader(body, io.MultiWriter(w, count)), 1<<20))
	if err != nil {
		return archive.Summary{}, err
	}
	defer a.Close()
	s := archive.Summary{Header: a.Header()}
	for {
		e, err := a.Next()
		switch {
		case errors.Is(err, io.EOF):
			s.Bytes = int64(*count)
			return s, nil
		case err != nil:
			return s, fmt.Errorf("the node stopped sending (its log may say why): %w", err)
		case e.Block == nil:
			s.Nodes++
		default:
			s.Blocks++
			s.Transactions += uint64(len(e.Block.Txs))
		}
	}
}

type byteCount int64

func (c *byteCount) Write(b []byte) (int, error) {
	*c += byteCount(len(b))
	return len(b), nil
}

func newBlockImportCmd() *cobra.Command {
	var (
		folder               folderFlags
		bucket               bucketFlags
		in                   string
		found, state, asJSON bool
	)
	cmd := &cobra.Command{
		Use: "import --in FILE|s3://BUCKET/PREFIX --config FILE | --data-dir DIR --genesis FILE", Args: cobra.NoArgs,
		Short: "Make a data folder of what block export wrote",
		Long: "import verifies everything (chain, signatures, links, state roots) and fills an empty data folder. The node then\n" +
			"starts as a newcomer that has the chain already; it joins its cluster and votes when it has caught up. Interrupted,\n" +
			"it goes on when it is run again. With --found the node may found a new cluster with that chain: import the same file\n" +
			"on all nodes first, since a majority without it would begin another chain.\n\n" +
			"With s3:// it takes what the bucket has of this chain: from block 1 on, or from the newest stored state on if that\n" +
			"leads further or --state is given. A damaged object is left out where another one has the same blocks. " + bucketHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, g, err := folder.open()
			if err != nil {
				return err
			}
			if objectstore.IsURL(in) {
				objects, err := bucket.open(cmd, in, folder.config)
				if err != nil {
					return err
				}
				hash, err := genesisHash(g)
				if err != nil {
					return err
				}
				var damaged []string
				s, err := importFrom(cmd.Context(), dir, g, found, func(im *archive.Importer) error {
					damaged, err = archive.NewSet(objects, hash, bucket.log(cmd)).Import(cmd.Context(), im, state)
					return err
				})
				if err != nil {
					return fmt.Errorf("%s: %w", in, err)
				}
				m := newMoved(in, &s)
				m.Damaged = damaged
				return printMoved(cmd, "imported", m, asJSON)
			}
			if state {
				return errors.New("--state is for s3://: a file has a state or not")
			}
			f, err := os.Open(in)
			if err != nil {
				return fmt.Errorf("--in: %w", err)
			}
			defer f.Close() //nolint:errcheck // only read from
			s, err := importFrom(cmd.Context(), dir, g, found, func(im *archive.Importer) error {
				return im.Read(cmd.Context(), bufio.NewReaderSize(f, 1<<20))
			})
			if err != nil {
				return fmt.Errorf("%s: %w", in, err)
			}
			return printMoved(cmd, "imported", newMoved(in, &s), asJSON)
		},
	}
	folder.add(cmd)
	bucket.add(cmd)
	cmd.Flags().BoolVar(&state, "state", false, "begin with the newest stored state of an object store")
	cmd.Flags().StringVar(&in, "in", "", "file, or s3://BUCKET/PREFIX, to read")
	cobra.CheckErr(cmd.MarkFlagRequired("in"))
	cmd.Flags().BoolVar(&found, "found", false, "the node may found a new cluster with this chain")
	addJSON(cmd, &asJSON)
	return cmd
}

// importLimits are those of a node with this configuration.
func importLimits(c *config.Config) archive.Limits {
	return archive.Limits{
		CheckpointEvery: c.State.CheckpointBlocks, CheckpointBytes: int64(c.State.CheckpointBytes),
		StateCacheBytes: int64(c.Limits.StateCacheBytes),
	}
}

// importFrom fills a data folder with what read gives to the importer.
func importFrom(
	ctx context.Context, dataDir string, g *chain.Genesis, found bool, read func(*archive.Importer) error,
) (s archive.Summary, err error) {
	executor, err := chain.New(g, chain.Ledger{})
	if err != nil {
		return s, err
	}
	store, err := blockstore.Open(blockstore.Options{Dir: dataDir, Logger: zerolog.Nop()})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c := config.DefaultConfig()
	im, err := archive.NewImporter(ctx, store, executor, importLimits(&c))
	if err != nil {
		return s, err
	}
	if err := read(im); err != nil {
		if im.Height() > 0 {
			return s, fmt.Errorf("%w; %s has blocks up to %d: import the right or a whole file into it, or empty it", err, dataDir, im.Height())
		}
		return s, err
	}
	return im.Finish(found)
}
