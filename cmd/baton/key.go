package main

import (
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
)

// publicKey is what key commands print as JSON: never the private half.
type publicKey struct {
	Type      string `json:"type"`
	PublicKey string `json:"public_key"`
	File      string `json:"file"`
}

func newKeyNewCmd() *cobra.Command {
	var (
		out, from       string
		asJSON, encrypt bool
	)
	cmd := &cobra.Command{
		Use: "new [--out FILE] [--encrypt]", Short: "Make a key", Args: cobra.NoArgs,
		Long: "new makes an Ed25519 key. With --out it writes the key file, mode 0600, never over another one, and prints the\n" +
			"public key; without it prints the key file, private key included. With --encrypt the file needs a passphrase.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := config.NewKey()
			if err != nil {
				return err
			}
			data := config.EncodeKey(key)
			if encrypt {
				phrase, err := passphrase(from)
				if err != nil {
					return err
				}
				if data, err = config.EncryptSecret(data, phrase); err != nil {
					return err
				}
			}
			if out == "" {
				_, err := cmd.OutOrStdout().Write(data)
				return err
			}
			if err := createSecret(out, data); err != nil {
				return err
			}
			return printPublic(cmd, publicKey{"ed25519", hex.EncodeToString(config.PublicKey(key)), out}, asJSON)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the key with a passphrase")
	addPassphrase(cmd, &from)
	addJSON(cmd, &asJSON)
	return cmd
}

func newKeyShowCmd() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "show --key FILE", Short: "Print the public key of a key file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := config.LoadKey(file)
			if err != nil {
				return err
			}
			return printPublic(cmd, publicKey{"ed25519", hex.EncodeToString(config.PublicKey(key)), file}, asJSON)
		},
	}
	addKey(cmd, &file)
	addJSON(cmd, &asJSON)
	return cmd
}

func printPublic(cmd *cobra.Command, p publicKey, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, p)
	}
	return printf(cmd, "%s\n", p.PublicKey)
}

func addKey(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "key", "", "key file (required)")
	cobra.CheckErr(cmd.MarkFlagRequired("key"))
}
