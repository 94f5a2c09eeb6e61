package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
)

// secretFlags name the file of a secret, where its passphrase is, and where the result goes.
type secretFlags struct {
	file, out, from string
}

func (f *secretFlags) add(cmd *cobra.Command) {
	addKey(cmd, &f.file)
	cmd.Flags().StringVar(&f.out, "out", "", "file to write (default: the same file, replaced whole or not at all)")
	addPassphrase(cmd, &f.from)
}

// addPassphrase adds the flag that says where a passphrase is: never the passphrase, which others would see among the
// arguments.
func addPassphrase(cmd *cobra.Command, from *string) {
	cmd.Flags().StringVar(from, "passphrase-from", "",
		"where the passphrase is: file:PATH, env:NAME or credential:NAME (default: what "+config.EnvName("keys.passphrase")+" says)")
}

func passphrase(from string) (string, error) {
	if from == "" {
		from = os.Getenv(config.EnvName("keys.passphrase"))
	}
	if from == "" {
		return "", errors.New("no passphrase: name where it is with --passphrase-from file:PATH, env:NAME or credential:NAME")
	}
	return config.Passphrase(from).Read() //nolint:wrapcheck // says all
}

// write puts data where the flags say.
func (f *secretFlags) write(data []byte) error {
	if f.out == "" || f.out == f.file {
		return config.ReplaceSecretFile(f.file, data)
	}
	return createSecret(f.out, data)
}

// createSecret writes a new file.
func createSecret(path string, data []byte) error {
	err := config.WriteSecretFile(path, data)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten: name another file", path)
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

func (f *secretFlags) result() string {
	if f.out != "" {
		return f.out
	}
	return f.file
}

func newKeyEncryptCmd() *cobra.Command {
	var f secretFlags
	cmd := &cobra.Command{
		Use: "encrypt --key FILE [--out FILE]", Short: "Encrypt a key file, or a gossip key, with a passphrase", Args: cobra.NoArgs,
		Long: "encrypt makes an age file (scrypt) of a key file or of a gossip key. Nodes open it with the passphrase that\n" +
			"keys.passphrase in config.json names. Disks and backups may still hold what stood there before: encrypt keys before\n" +
			"they are used, or make new ones.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := config.ReadSecretFile(f.file)
			if err != nil {
				return err
			}
			if config.Encrypted(data) {
				return fmt.Errorf("%s is encrypted already", f.file)
			}
			if err := config.CheckSecret(data); err != nil {
				return fmt.Errorf("%s: %w", f.file, err)
			}
			phrase, err := passphrase(f.from)
			if err != nil {
				return err
			}
			sealed, err := config.EncryptSecret(data, phrase)
			if err != nil {
				return err
			}
			if err := f.write(sealed); err != nil {
				return err
			}
			return printf(cmd, "%s is encrypted; set keys.passphrase in config.json to where its passphrase is\n", f.result())
		},
	}
	f.add(cmd)
	return cmd
}

func newKeyDecryptCmd() *cobra.Command {
	var f secretFlags
	cmd := &cobra.Command{
		Use: "decrypt --key FILE [--out FILE]", Short: "Take the passphrase off a key file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := config.ReadSecretFile(f.file)
			if err != nil {
				return err
			}
			if !config.Encrypted(data) {
				return fmt.Errorf("%s is not encrypted", f.file)
			}
			phrase, err := passphrase(f.from)
			if err != nil {
				return err
			}
			plain, err := config.DecryptSecret(data, phrase)
			if err != nil {
				return fmt.Errorf("%s: %w", f.file, err)
			}
			if err := f.write(plain); err != nil {
				return err
			}
			return printf(cmd, "%s is not encrypted any more\n", f.result())
		},
	}
	f.add(cmd)
	return cmd
}

func newKeyGossipCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "gossip [--out FILE]", Short: "Make a gossip key", Args: cobra.NoArgs,
		Long: "gossip makes a key of 32 bytes for the gossip. With --out it writes the file, mode 0600, never over another one.\n" +
			"How the key of a running cluster is changed stands in OPERATING.md.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := config.NewGossipKey()
			if err != nil {
				return err
			}
			if out == "" {
				return printf(cmd, "%s", text)
			}
			return createSecret(out, []byte(text))
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	return cmd
}
