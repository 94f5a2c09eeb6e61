package api

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// certificate is the API's own, which may be replaced while it is served.
type certificate struct {
	p atomic.Pointer[tls.Certificate]
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := c.p.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("no certificate")
}

// config is that of a listener. HTTP/1.1 alone is spoken: every bound of this package counts connections.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}}
}

// ErrNoTLS is returned by SetCertificate when the API is served without TLS.
var ErrNoTLS = errors.New("the API is served without TLS")

// SetCertificate replaces the certificate for the connections that are made from now on.
func (s *Server) SetCertificate(cert tls.Certificate) error {
	if s.cfg.Certificate == nil {
		return ErrNoTLS
	}
	s.cert.p.Store(&cert)
	return nil
}

// SetRateLimit changes Config.RateLimit and Config.RateBurst. What clients have used so far is forgotten.
func (s *Server) SetRateLimit(perSecond, burst int) { s.rates.set(perSecond, burst) }
