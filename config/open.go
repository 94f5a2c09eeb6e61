package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/baton-ha/baton/node/chain"
)

// Node is all that one node starts from: its config and every file that the config names, checked against each other.
type Node struct {
	Config       *Config
	Genesis      *chain.Genesis
	NodeKey      ed25519.PrivateKey
	ProcessorKey ed25519.PrivateKey
	TLS          *tls.Certificate // of the API; nil: plain HTTP
	GossipKeys   [][]byte         // the first encrypts, the others are accepted too; nil when gossip is not encrypted
}

// Open loads the config.json at path and the files that it names. The error joins everything that is wrong with them:
// a file that is missing, malformed or readable by others, a node key that is not the one peers expect, a data_dir
// that is not a folder. It reads only.
//
// It does not check the processor key: that must be genesis's only while data_dir has no chain. See
// [Node.CheckProcessorKey].
func Open(path string) (*Node, error) {
	cfg, err := Load(path)
	if err != nil {
		return nil, err
	}
	n := &Node{Config: cfg}
	paths := cfg.Paths()
	var errs [7]error
	n.Genesis, errs[0] = LoadGenesis(paths.Genesis)
	secrets := cfg.secrets()
	n.NodeKey, errs[1] = secrets.key(paths.NodeKey)
	n.ProcessorKey, errs[2] = secrets.key(paths.ProcessorKey)
	n.GossipKeys, errs[3] = cfg.gossipKeys(secrets)
	errs[4] = errors.Join(checkFolder("data_dir", paths.DataDir), checkFolder("state_dir", paths.StateDir))
	n.TLS, errs[6] = certificate(secrets, paths)
	if self, ok := cfg.Self(); ok && errs[1] == nil {
		want, err := ParsePublicKey(self.PublicKey)
		if err == nil && !bytes.Equal(want, PublicKey(n.NodeKey)) {
			errs[5] = fmt.Errorf("key file %s: its public key is %x, but peer.peers has %s for %s",
				paths.NodeKey, []byte(PublicKey(n.NodeKey)), self.PublicKey, self.ID)
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return n, nil
}

// certificate loads the API's certificate, nil when there is none.
func certificate(s *secrets, paths Paths) (*tls.Certificate, error) {
	if paths.TLSCert == "" {
		return nil, nil
	}
	chain, err := readBounded(paths.TLSCert, maxCertBytes)
	if err != nil {
		return nil, fmt.Errorf("api.tls_cert: %w", err)
	}
	key, err := s.read(paths.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("api.tls_key: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("api.tls_cert %s with api.tls_key %s: %w", paths.TLSCert, paths.TLSKey, err)
	}
	return &cert, nil
}

// maxCertBytes bounds a certificate with its chain.
const maxCertBytes = 1 << 20

// CheckProcessorKey checks that n signs with the key that genesis names. With a chain in data_dir it is the chain that
// names the key, and the node that checks it; an error of that kind is worth this one's words.
func (n *Node) CheckProcessorKey() error {
	if got := PublicKey(n.ProcessorKey); !bytes.Equal(got, n.Genesis.Processor.PublicKey[:]) {
		return fmt.Errorf("key file %s: its public key is %x, but processor.public_key in %s is %s",
			n.Config.Paths().ProcessorKey, []byte(got), n.Config.Paths().Genesis, n.Genesis.Processor.PublicKey)
	}
	return nil
}

// checkFolder refuses a path that is something else than a folder; one that is not there yet will be made.
func checkFolder(field, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if !info.IsDir() {
		return &FieldError{Field: field, Value: path, Want: "a folder"}
	}
	return nil
}
