package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// idle is how long nothing may move on a connection.
	idle = time.Minute
	// dialTime bounds how long a connection takes.
	dialTime = 15 * time.Second
	// maxAnswerBytes bounds an answer that is no object. A page of a listing has a thousand names of at most a kilobyte.
	maxAnswerBytes = 8 << 20
)

var errAnswerTooLong = errors.New("the store's answer is too long")

func newTransport(ca *x509.CertPool, idle time.Duration) http.RoundTripper {
	dialer := &net.Dialer{Timeout: dialTime}
	return &boundedTransport{&http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &idleConn{conn, idle}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca},
		TLSHandshakeTimeout:    dialTime,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    2,
		DisableCompression:     true,
	}}
}

// idleConn fails when nothing moves for some time. It is one connection's, in one direction at a time (HTTP/1.1).
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) Read(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *idleConn) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// boundedTransport bounds all answers but objects, which are read as they come.
type boundedTransport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if object := req.Method == http.MethodGet && req.URL.RawQuery == ""; !object {
		resp.Body = &boundedBody{resp.Body, maxAnswerBytes}
	}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswerTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
