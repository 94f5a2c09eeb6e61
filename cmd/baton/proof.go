package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// maxProofBytes bounds a file that is read as a proof.
const maxProofBytes = 16 << 20

// proven is what `proof verify --json` prints.
type proven struct {
	OK        bool         `json:"ok"`
	ChainID   string       `json:"chain_id"`
	Height    block.Height `json:"height"`
	BlockHash block.Hash   `json:"block_hash"`
	Key       wire.Hex     `json:"key"`
	Present   bool         `json:"present"`
	Value     wire.Hex     `json:"value"`
	// Account is there when the answer was an account's.
	Account *wire.Account `json:"account,omitempty"`
}

func newProofVerifyCmd() *cobra.Command {
	var (
		genesis, configFile, processor string
		asJSON                         bool
	)
	cmd := &cobra.Command{
		Use:   "verify FILE|- --genesis FILE | --config FILE | --processor-key HEX",
		Short: "Check a proof of the state, offline",
		Long: "verify checks what GET /v1/state/{key}?proof=1 or GET /v1/accounts/{pubkey}?proof=1 answered, read from a file or,\n" +
			"with -, from stdin: that the key had that value, or none, after a block that the processor signed. It talks to\n" +
			"nobody and trusts only the processor's public key, given as such or as that of a genesis file.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readProofFile(cmd, args[0])
			if err != nil {
				return err
			}
			trust, err := openTrust(genesis, configFile, processor)
			if err != nil {
				return err
			}
			p, err := trust.verify(data)
			if err != nil {
				return fmt.Errorf("%s proves nothing: %w", args[0], err)
			}
			return printProven(cmd, p, asJSON)
		},
	}
	cmd.Flags().StringVar(&genesis, "genesis", "", "genesis.json of the chain (default: the config's)")
	cmd.Flags().StringVar(&processor, "processor-key", "", "public key of the processor, 64 hex digits")
	addConfig(cmd, &configFile)
	cmd.MarkFlagsOneRequired("genesis", "config", "processor-key")
	cmd.MarkFlagsMutuallyExclusive("genesis", "config", "processor-key")
	addJSON(cmd, &asJSON)
	return cmd
}

func readProofFile(cmd *cobra.Command, path string) ([]byte, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxProofBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxProofBytes {
		return nil, fmt.Errorf("%s is larger than a proof can be", path)
	}
	return data, nil
}

// trust is what a proof is checked against.
type trust struct {
	processor ed25519.PublicKey
	genesis   block.Hash // zero: not known
}

func openTrust(genesis, configFile, processor string) (trust, error) {
	if processor != "" {
		key, err := config.ParsePublicKey(processor)
		if err != nil {
			return trust{}, fmt.Errorf("--processor-key: %w", err)
		}
		return trust{processor: key}, nil
	}
	g, err := openGenesis(genesis, configFile)
	if err != nil {
		return trust{}, err
	}
	hash, err := genesisHash(g)
	if err != nil {
		return trust{}, err
	}
	return trust{processor: g.Processor.PublicKey[:], genesis: hash}, nil
}

// verify checks a proof and what stands around it.
func (t trust) verify(data []byte) (*proven, error) {
	p, account, entry, err := wire.ReadProof(data)
	switch {
	case err != nil:
		return nil, err
	case account != nil:
		err = client.CheckAccount(account)
	case entry != nil:
		err = entry.Check()
	}
	if err != nil {
		return nil, err
	}
	err = p.Verify(t.processor)
	if errors.Is(err, wire.ErrUnsigned) && p.Header.Height == 0 && !t.genesis.IsZero() {
		// Genesis is not signed: its hash is known.
		if err = nil; p.BlockHash != t.genesis {
			err = fmt.Errorf("block 0 is %s, that of the genesis file is %s", p.BlockHash, t.genesis)
		}
	}
	if err != nil {
		return nil, err
	}
	if account != nil {
		account.Proof = nil
	}
	return &proven{
		OK: true, ChainID: p.Header.ChainID, Height: p.Header.Height, BlockHash: p.BlockHash, Key: p.Key, Present: p.Present,
		Value: p.Value, Account: account,
	}, nil
}

func printProven(cmd *cobra.Command, p *proven, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, p)
	}
	err := printf(cmd, "proven: after block %d (%s) of chain %s\n", p.Height, p.BlockHash, p.ChainID)
	switch {
	case p.Account != nil && p.Present:
		err = errors.Join(err, printf(cmd, "account %s had nonce %d and balances %v\n", p.Account.PublicKey, p.Account.Nonce, p.Account.Balances))
	case p.Account != nil:
		err = errors.Join(err, printf(cmd, "account %s did not exist\n", p.Account.PublicKey))
	case p.Present:
		err = errors.Join(err, printf(cmd, "key %s had the value %s\n", p.Key, p.Value))
	default:
		err = errors.Join(err, printf(cmd, "key %s had no value\n", p.Key))
	}
	return err
}
