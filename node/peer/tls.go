package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// errWrongKey is returned by a handshake when the other side proved another key than the pinned one.
var errWrongKey = errors.New("the key is not the one in the configuration")

// selfCertificate wraps the node key in the certificate that TLS insists on. Nobody reads more of it than the key:
// there is no authority, and the dates are the widest that X.509 can say.
func selfCertificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, publicKey(key), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// baseTLS has what both sides share: TLS 1.3 alone, no resumption (every connection proves its key anew).
func baseTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:                []tls.Certificate{cert},
		MinVersion:                  tls.VersionTLS13,
		MaxVersion:                  tls.VersionTLS13,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // nobody renders half a frame
	}
}

// serverTLS accepts a client iff known(its key) and it names one of protos.
func serverTLS(cert tls.Certificate, protos []string, known func(ed25519.PublicKey) bool) *tls.Config {
	c := baseTLS(cert)
	c.NextProtos = protos
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol == "" {
			return refusal("no protocol (ALPN) named")
		}
		key, err := leafKey(cs)
		if err != nil {
			return err
		}
		if !known(key) {
			return fmt.Errorf("key %x: %w", []byte(key), errWrongKey)
		}
		return nil
	}
	return c
}

// clientTLS accepts a server iff it proves the key want and speaks proto. InsecureSkipVerify only switches off the
// authorities, names and dates; VerifyConnection does the whole verification.
func clientTLS(cert tls.Certificate, proto string, want ed25519.PublicKey) *tls.Config {
	c := baseTLS(cert)
	c.NextProtos = []string{proto}
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != proto {
			return refusal(fmt.Sprintf("the server does not speak %s", proto))
		}
		key, err := leafKey(cs)
		if err != nil {
			return err
		}
		if !key.Equal(want) {
			return fmt.Errorf("key %x: %w", []byte(key), errWrongKey)
		}
		return nil
	}
	return c
}

// leafKey returns the key that the other side proved to hold.
func leafKey(cs tls.ConnectionState) (ed25519.PublicKey, error) {
	if len(cs.PeerCertificates) == 0 {
		return nil, refusal("no certificate shown")
	}
	key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, refusal(fmt.Sprintf("certificate with a key of type %T, must be Ed25519",
			cs.PeerCertificates[0].PublicKey))
	}
	return key, nil
}
