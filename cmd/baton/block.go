package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

func newBlockShowCmd() *cobra.Command {
	var (
		api     apiFlags
		genesis string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use: "show HEIGHT|latest --config FILE | --api URL", Short: "Show a final block", Args: cobra.ExactArgs(1),
		Long: "show prints a block and recomputes its hash from what it prints. With --config or --genesis it also checks the\n" +
			"signature under the processor key of that genesis file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			height, err := parseHeight(args[0])
			if err != nil {
				return err
			}
			pub, err := trustedKey(genesis, api.config)
			if err != nil {
				return err
			}
			ctx, c, done, err := api.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			b, err := fetchBlock(ctx, c, height)
			if err != nil {
				return err
			}
			if err := checkBlock(b, pub); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, b)
			}
			return printBlock(cmd, b, pub != nil && b.Height > 0)
		},
	}
	api.add(cmd, true, 10*time.Second)
	cmd.Flags().StringVar(&genesis, "genesis", "", "genesis.json whose processor key must have signed the block")
	addJSON(cmd, &asJSON)
	return cmd
}

// parseHeight reads a height; nil is the latest.
func parseHeight(text string) (*block.Height, error) {
	if text == "latest" {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no height: want a whole number or latest", text)
	}
	h := block.Height(n)
	return &h, nil
}

func fetchBlock(ctx context.Context, c *client.Client, height *block.Height) (*client.Block, error) {
	if height == nil {
		return c.LatestBlock(ctx)
	}
	b, err := c.Block(ctx, *height)
	if client.IsCode(err, wire.CodeNotFound) {
		return nil, fmt.Errorf("no final block of height %d yet: %w", *height, err)
	}
	if err == nil && b.Height != *height {
		return nil, fmt.Errorf("asked for block %d, was given block %d", *height, b.Height)
	}
	return b, err
}

// checkBlock checks b's hash and, under pub unless that is nil, its signature. Genesis has none.
func checkBlock(b *client.Block, pub ed25519.PublicKey) error {
	if pub == nil || b.Height == 0 {
		_, err := b.Recompute()
		return err
	}
	return client.VerifyBlock(b, pub)
}

func printBlock(cmd *cobra.Command, b *client.Block, verified bool) error {
	note := ""
	if verified {
		note = " (verified)"
	}
	err := printf(cmd, "height      %d\nhash        %s\nparent      %s\ntime        %s\nchain       %s, version %s\n"+
		"state root  %s\nproposer    %s, term %d\nsigner      %s\nsignature   %s%s\n",
		b.Height, b.Hash, b.ParentHash, time.UnixMilli(b.Time).UTC().Format("2006-01-02T15:04:05.000Z"),
		b.ChainID, b.ChainVersion, b.StateRoot, b.Proposer, b.Term, b.Signer, b.Signature, note)
	for i, tx := range b.Transactions {
		err = errors.Join(err, printf(cmd, "tx %-8d %s %s\n", i, tx.Hash, tx.Payload))
	}
	return err
}

// trustedKey is the processor key of a genesis file, or of the one that a config names, or nil when neither is given.
func trustedKey(genesis, configFile string) (ed25519.PublicKey, error) {
	g, err := openGenesis(genesis, configFile)
	if g == nil || err != nil {
		return nil, err
	}
	return g.Processor.PublicKey[:], nil
}

// openGenesis loads a genesis file, or the one that a config names; nil when neither is given.
func openGenesis(genesis, configFile string) (*chain.Genesis, error) {
	if genesis == "" && configFile != "" {
		cfg, err := config.Load(configFile)
		if err != nil {
			return nil, err
		}
		genesis = cfg.Paths().Genesis
	}
	if genesis == "" {
		return nil, nil
	}
	return config.LoadGenesis(genesis)
}

// verified is what `block verify --json` prints.
type verified struct {
	OK           bool         `json:"ok"`
	Height       block.Height `json:"height"`
	Hash         block.Hash   `json:"hash"`
	Committed    block.Height `json:"committed"`
	Signed       uint64       `json:"signed"`
	Unsigned     uint64       `json:"unsigned"`
	Transactions uint64       `json:"transactions"`
	StateHeight  block.Height `json:"state_height"`
	StateEntries uint64       `json:"state_entries"`
	Executed     bool         `json:"executed,omitempty"`
	Problems     []string     `json:"problems"`
}

func newBlockVerifyCmd() *cobra.Command {
	var (
		dataDir, genesis, configFile string
		asJSON, execute              bool
	)
	cmd := &cobra.Command{
		Use:   "verify --data-dir DIR --genesis FILE | --config FILE",
		Short: "Check the data folder of a node that does not run",
		Long: "verify reads a whole data folder without changing it: every block's hash, its transactions, its link to its parent,\n" +
			"the signatures under the processor key of genesis, certificates, indexes, the mark, and every node of the stored\n" +
			"states. With --execute it also executes all committed blocks again, from genesis or, where the first ones were\n" +
			"pruned, from the oldest stored state, with the built-in ledger, in memory. The node must not run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := openGenesis(genesis, configFile)
			if err != nil {
				return err
			}
			if dataDir == "" && configFile != "" {
				cfg, err := config.Load(configFile)
				if err != nil {
					return err
				}
				dataDir = cfg.Paths().DataDir
			}
			if dataDir == "" {
				return errors.New("no data folder named: want --data-dir DIR, or --config FILE")
			}
			hash, err := genesisHash(g)
			if err != nil {
				return err
			}
			report, err := blockstore.VerifyDir(nil, dataDir, g.Processor.PublicKey[:], hash)
			switch {
			case errors.Is(err, blockstore.ErrInUse):
				return fmt.Errorf("%w; stop the node first", err)
			case err != nil:
				return err
			}
			if execute && report.OK() {
				if err := executeFolder(cmd.Context(), dataDir, g); err != nil {
					report.Problems = append(report.Problems, err)
				}
			}
			return printReport(cmd, dataDir, &report, asJSON, execute)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data folder (default: the config's)")
	cmd.Flags().StringVar(&genesis, "genesis", "", "genesis.json of the chain (default: the config's)")
	addConfig(cmd, &configFile)
	cmd.Flags().BoolVar(&execute, "execute", false, "also execute all blocks again")
	cmd.MarkFlagsOneRequired("genesis", "config")
	addJSON(cmd, &asJSON)
	return cmd
}

// executeFolder executes the committed blocks of a folder again and compares the state roots.
func executeFolder(ctx context.Context, dataDir string, g *chain.Genesis) (err error) {
	r, err := blockstore.OpenReader(nil, dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	executor, err := chain.New(g, chain.Ledger{})
	if err != nil {
		return err
	}
	_, st, err := executor.Genesis(nil)
	if err != nil {
		return err
	}
	if r.Base() > 1 {
		cps, err := r.Checkpoints()
		if err != nil {
			return err
		}
		if len(cps) == 0 || cps[0].Height < r.Base() {
			return fmt.Errorf("execute: no stored state at or above block %d, the lowest one kept", r.Base())
		}
		cp := cps[0]
		b, err := r.Block(cp.Height)
		if err != nil {
			return err
		}
		if st, err = chain.LoadState(r, cp.Root, cp.RootNode, cp.Height, cp.Hash, b.Header.TimeMs); err != nil {
			return err
		}
	}
	for h := st.Height() + 1; h <= r.Committed().Height; h++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.Block(h)
		if err != nil {
			return err
		}
		if st, err = executor.Apply(st, b); err != nil {
			return fmt.Errorf("execute: %w", err)
		}
	}
	return nil
}

// genesisHash is the hash of block 0.
func genesisHash(g *chain.Genesis) (block.Hash, error) {
	executor, err := chain.New(g, chain.Ledger{})
	if err != nil {
		return block.Hash{}, err
	}
	b, _, err := executor.Genesis(nil)
	if err != nil {
		return block.Hash{}, err
	}
	return b.Hash(), nil
}

// printReport prints what was found and is an error when something is wrong.
func printReport(cmd *cobra.Command, dir string, r *blockstore.Report, asJSON, executed bool) error {
	v := verified{
		Executed: executed && r.OK(),
		OK:       r.OK(), Height: r.Tip, Hash: r.TipHash, Committed: r.Committed, Signed: r.Signed, Unsigned: r.Unsigned,
		Transactions: r.Transactions, StateEntries: r.StateEntries, Problems: []string{},
	}
	if r.Checkpoint != nil {
		v.StateHeight = r.Checkpoint.Height
	}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, oneLine(p))
	}
	var err error
	if asJSON {
		err = printJSON(cmd, v)
	} else if r.OK() {
		err = printf(cmd, "%s is good: %d blocks up to %s, %d of them committed, %d signed, %d transactions\n",
			dir, r.Tip, r.TipHash, r.Committed, r.Signed, r.Transactions)
	}
	if err != nil || r.OK() {
		return err
	}
	more := ""
	if n := len(r.Problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more; --json lists them)", n)
	}
	return fmt.Errorf("%s is damaged: %w%s; %s", dir, r.Problems[0], more, mendHint)
}

// mendHint says what becomes of a damaged folder.
const mendHint = "start the node: it fetches what is damaged from the other nodes, or says why it cannot; if it refuses to start, " +
	"empty the folder, and it comes back as a newcomer"
