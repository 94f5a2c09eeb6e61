package config

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	// workFactor is the logarithm of what guessing one passphrase costs, in scrypt's terms: 64 MiB and a fifth of a second.
	workFactor = 16
	// maxWorkFactor bounds what a file may ask for: 256 MiB and about a second, what age itself asks for.
	maxWorkFactor = 18
	// maxPassphraseBytes bounds a passphrase.
	maxPassphraseBytes = 1024

	envPrefixRef        = "env:"
	credentialPrefixRef = "credential:"
	// credentialsDir is where systemd puts a service's credentials.
	credentialsDir = "CREDENTIALS_DIRECTORY"
)

var (
	// ErrEncrypted is returned when a key file is encrypted and nothing says where its passphrase is.
	ErrEncrypted = errors.New("key file is encrypted: keys.passphrase must say where its passphrase is, as in file:PATH, env:NAME or credential:NAME")
	// ErrPassphrase is returned when the passphrase does not open a key file.
	ErrPassphrase = errors.New("wrong passphrase")
)

// Passphrase says where a passphrase is found: file:PATH, the first line of a file that only its owner may read;
// env:NAME, an environment variable; credential:NAME, a credential that systemd gave this service. Empty is none.
type Passphrase string

// valid says whether p can name a passphrase.
func (p Passphrase) valid() bool {
	for _, prefix := range []string{filePrefix, envPrefixRef, credentialPrefixRef} {
		if rest, ok := strings.CutPrefix(string(p), prefix); ok {
			return rest != "" && (prefix != credentialPrefixRef || !strings.ContainsRune(rest, '/') && rest != "..")
		}
	}
	return p == ""
}

// Read returns the passphrase. A relative path is relative to the working directory. The error never holds any of it.
func (p Passphrase) Read() (string, error) { return p.read(func(path string) string { return path }) }

func (p Passphrase) read(resolve func(string) string) (string, error) {
	if p == "" || !p.valid() {
		return "", fmt.Errorf("passphrase from %q: want file:PATH, env:NAME or credential:NAME", string(p))
	}
	text := ""
	switch kind, rest, _ := strings.Cut(string(p), ":"); kind + ":" {
	case envPrefixRef:
		text = os.Getenv(rest)
	case credentialPrefixRef:
		dir := os.Getenv(credentialsDir)
		if dir == "" {
			return "", fmt.Errorf("passphrase from %s: there are no credentials, $%s is not set", p, credentialsDir)
		}
		data, err := readSecret(filepath.Join(dir, rest))
		if err != nil {
			return "", fmt.Errorf("passphrase: %w", err)
		}
		text = string(data)
	default:
		data, err := readSecret(resolve(rest))
		if err != nil {
			return "", fmt.Errorf("passphrase: %w", err)
		}
		text = string(data)
	}
	text, _, _ = strings.Cut(text, "\n")
	text = strings.TrimSuffix(text, "\r")
	if text == "" || len(text) > maxPassphraseBytes {
		return "", fmt.Errorf("passphrase from %s: its first line has %d bytes, want 1 to %d", p, len(text), maxPassphraseBytes)
	}
	return text, nil
}

// secrets reads the files of secrets, with the passphrase of those that are encrypted.
type secrets struct {
	from    Passphrase
	resolve func(string) string
	phrase  string // once read
}

// secretsOf are the secrets of a command that has no config: encrypted ones have their passphrase where from says.
func secretsOf(from Passphrase) *secrets {
	return &secrets{from: from, resolve: func(path string) string { return path }}
}

// read returns what is in a secret's file, decrypted.
func (s *secrets) read(path string) ([]byte, error) {
	data, err := readSecret(path)
	if err != nil || !Encrypted(data) {
		return data, err
	}
	if s.from == "" {
		return nil, fmt.Errorf("%w (%s)", ErrEncrypted, path)
	}
	if s.phrase == "" {
		if s.phrase, err = s.from.read(s.resolve); err != nil {
			return nil, err
		}
	}
	plain, err := DecryptSecret(data, s.phrase)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return plain, nil
}

// key reads a key file.
func (s *secrets) key(path string) (ed25519.PrivateKey, error) {
	data, err := s.read(path)
	if err != nil {
		return nil, err
	}
	k, err := DecodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// ageHeader begins every file of age that is not text.
const ageHeader = "age-encryption.org/v1\n"

// Encrypted reports whether a secret's file is encrypted, as EncryptSecret or age itself does it.
func Encrypted(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return bytes.HasPrefix(data, []byte(armor.Header)) || bytes.HasPrefix(data, []byte(ageHeader))
}

// EncryptSecret encrypts the bytes of a secret's file with a passphrase, as text: an age file, which `age --decrypt` opens
// too. It takes about a fifth of a second and 64 MiB, as opening it does.
func EncryptSecret(plain []byte, passphrase string) ([]byte, error) {
	return encryptSecret(plain, passphrase, workFactor)
}

func encryptSecret(plain []byte, passphrase string, work int) ([]byte, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	to.SetWorkFactor(work)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = text.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// DecryptSecret is the opposite of EncryptSecret; a file that age itself made, as text or not, is as good. It returns
// ErrPassphrase when the passphrase is not that of the file, and refuses a file that asks for more than a second's work.
func DecryptSecret(data []byte, passphrase string) ([]byte, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	var from io.Reader = bytes.NewReader(data)
	if !bytes.HasPrefix(data, []byte(ageHeader)) {
		from = armor.NewReader(from)
	}
	r, err := age.Decrypt(from, id)
	if err != nil {
		if none := (*age.NoIdentityMatchError)(nil); errors.As(err, &none) {
			return nil, ErrPassphrase
		}
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKeyBytes+1))
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	if len(plain) > maxKeyBytes {
		return nil, fmt.Errorf("%w: at most %d bytes", ErrTooLarge, maxKeyBytes)
	}
	return plain, nil
}

// ReadSecretFile reads the file of a key or a gossip key as it is, encrypted or not. A file that its group or others may
// read is refused with ErrKeyReadable.
func ReadSecretFile(path string) ([]byte, error) { return readSecret(path) }

// CheckSecret says whether plain is what the file of a key or of a gossip key holds. The error never holds any of it.
func CheckSecret(plain []byte) error {
	if _, err := DecodeKey(plain); err == nil {
		return nil
	}
	if _, err := parseGossipKeys(string(plain)); err == nil {
		return nil
	}
	return errors.New("neither a key file nor a gossip key")
}

// WriteSecretFile creates a file of mode 0600 with data in it, durably. It never overwrites.
func WriteSecretFile(path string, data []byte) error { return writeNew(path, data, 0o600) }

// ReplaceSecretFile puts data in the place of the file at path, whole or not at all, mode 0600, durably.
func ReplaceSecretFile(path string, data []byte) error {
	tmp := path + ".new"
	if err := writeNew(tmp, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}
