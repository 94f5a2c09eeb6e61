package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// txFlags are what both ways of sending share.
type txFlags struct {
	api       apiFlags
	key       string
	chainID   string
	nonce     uint64
	maxHeight uint64
	asJSON    bool
}

func (f *txFlags) add(cmd *cobra.Command) {
	f.api.add(cmd, false, time.Minute)
	addKey(cmd, &f.key)
	cmd.Flags().StringVar(&f.chainID, "chain-id", "", "chain to sign for (default: the one that the nodes say they are)")
	cmd.Flags().Uint64Var(&f.nonce, "nonce", 0, "nonce to sign (default: the account's next); with it the same command "+
		"makes the same transaction and may be repeated")
	cmd.Flags().Uint64Var(&f.maxHeight, "max-height", 0, "last height at which it may be executed (default: any)")
	addJSON(cmd, &f.asJSON)
}

const txLong = "It takes effect once, however often it is sent: on a lost connection or a change of leader the same signed bytes\n" +
	"go to the next node until the transaction is final. The receipt says in which block it stands."

func newTxTransferCmd() *cobra.Command {
	var (
		tx                txFlags
		to, asset, amount string
	)
	cmd := &cobra.Command{
		Use:   "transfer --api URL[,URL..] --key FILE --to PUBKEYHEX --amount N [--asset native]",
		Short: "Pay an amount from the key's account",
		Long:  "transfer pays an amount of an asset from the account of --key.\n" + txLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			receiver, err := config.ParsePublicKey(to)
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			message, err := client.Transfer{To: receiver, Asset: asset, Amount: amount}.Message()
			if err != nil {
				return fmt.Errorf("--amount: %w", err)
			}
			return tx.send(cmd, message)
		},
	}
	tx.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "public key of the receiver, 64 hex digits (required)")
	cmd.Flags().StringVar(&amount, "amount", "", "how much, a whole number (required)")
	cmd.Flags().StringVar(&asset, "asset", client.NativeAsset, "what")
	cobra.CheckErr(errors.Join(cmd.MarkFlagRequired("to"), cmd.MarkFlagRequired("amount")))
	return cmd
}

func newTxSendCmd() *cobra.Command {
	var (
		tx   txFlags
		text string
	)
	cmd := &cobra.Command{
		Use:     "send --api URL[,URL..] --key FILE --message JSON",
		Short:   "Send any message from the key's account",
		Long:    "send signs and sends a transaction of one message, a JSON object with a type.\n" + txLong,
		Example: `  baton tx send --api http://127.0.0.1:7002 --key me.json --message '{"type":"transfer",...}'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var message map[string]json.RawMessage
			if err := json.Unmarshal([]byte(text), &message); err != nil || message["type"] == nil {
				return fmt.Errorf("--message is %q: want a JSON object with a \"type\"", text)
			}
			return tx.send(cmd, json.RawMessage(text))
		},
	}
	tx.add(cmd)
	cmd.Flags().StringVar(&text, "message", "", "the message, a JSON object (required)")
	cobra.CheckErr(cmd.MarkFlagRequired("message"))
	return cmd
}

// send signs message under the account's nonce, sends it until it is final and prints the receipt.
func (f *txFlags) send(cmd *cobra.Command, message json.RawMessage) error {
	key, err := config.LoadKey(f.key)
	if err != nil {
		return err
	}
	ctx, c, done, err := f.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	if f.chainID == "" {
		status, err := c.Status(ctx)
		if err != nil {
			return fmt.Errorf("ask for the chain id: %w", err)
		}
		f.chainID = status.ChainID
	}
	if !cmd.Flags().Changed("nonce") {
		if f.nonce, err = nextNonce(ctx, c, config.PublicKey(key)); err != nil {
			return err
		}
	}
	tx, err := client.Build(f.chainID, key, f.nonce, block.Height(f.maxHeight), message)
	if err != nil {
		return err
	}
	receipt, err := c.Submit(ctx, tx)
	if err != nil {
		return f.mend(err)
	}
	if f.asJSON {
		return printJSON(cmd, receipt)
	}
	return printf(cmd, "final: transaction %s is number %d of block %d (%s)\n",
		receipt.Hash, receipt.Index, receipt.Height, receipt.BlockHash)
}

func nextNonce(ctx context.Context, c *client.Client, pub ed25519.PublicKey) (uint64, error) {
	account, err := c.Account(ctx, pub)
	if err != nil {
		return 0, fmt.Errorf("ask for the account's nonce: %w", err)
	}
	return account.Nonce, nil
}

// mend adds to err what to do about it.
func (f *txFlags) mend(err error) error {
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		return fmt.Errorf("%w; repeat the same command with --nonce %d to learn the outcome", err, f.nonce)
	case client.IsCode(err, wire.CodeBadNonce):
		return fmt.Errorf("%w; another transaction of this account took nonce %d or one before it is missing", err, f.nonce)
	default:
		return err
	}
}
