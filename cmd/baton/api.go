package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/client"
)

// apiFlags name the nodes whose API a command talks to.
type apiFlags struct {
	urls    []string
	config  string
	timeout time.Duration
}

// add adds the flags. Commands that act for an account take --api only: they need no config of a node.
func (f *apiFlags) add(cmd *cobra.Command, withConfig bool, timeout time.Duration) {
	cmd.Flags().StringSliceVar(&f.urls, "api", nil, "API addresses of one or more nodes: http://host:port[,...]")
	cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long to try")
	if withConfig {
		addConfig(cmd, &f.config)
		cmd.MarkFlagsMutuallyExclusive("api", "config")
		cmd.MarkFlagsOneRequired("api", "config")
	} else {
		cobra.CheckErr(cmd.MarkFlagRequired("api"))
	}
}

// open makes the client and the context that bounds the command. The caller calls done.
func (f *apiFlags) open(parent context.Context) (ctx context.Context, c *client.Client, done func(), err error) {
	if f.timeout <= 0 {
		return nil, nil, nil, fmt.Errorf("--timeout is %v: want more than 0s", f.timeout)
	}
	urls, opts := f.urls, client.Options{}
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return nil, nil, nil, err
		}
		urls = []string{localURL(cfg.API.Listen)}
		if path := cfg.Paths().TLSCert; path != "" {
			if opts.HTTP, err = pinned(path); err != nil {
				return nil, nil, nil, err
			}
			urls[0] = "https" + strings.TrimPrefix(urls[0], "http")
		}
	}
	c, err = client.New(urls, opts)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--api: %w", err)
	}
	ctx, cancel := context.WithTimeout(parent, f.timeout)
	return ctx, c, func() { cancel(); c.Close() }, nil
}

// pinned is a client for the node on this host, which trusts the very certificate that the node's config names: its names
// need not be this address.
func pinned(path string) (*http.Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("api.tls_cert: %w", err)
	}
	first, _ := pem.Decode(text)
	if first == nil {
		return nil, fmt.Errorf("api.tls_cert: %s has no certificate", path)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // the certificate itself is compared
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, first.Bytes) {
				return fmt.Errorf("the node serves another certificate than %s has: reload it", path)
			}
			return nil
		},
	}
	return &http.Client{Transport: t}, nil
}

// localURL is where a listener is reached from its own host.
func localURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
		if err == nil && ip.Is6() {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}

// firstStatus asks the nodes one after the other, each once, for their status, and returns the first answer: a command
// that only looks should not wait for a cluster that is down.
func firstStatus(ctx context.Context, c *client.Client) (client.Status, error) {
	var errs []error
	for _, url := range c.URLs() {
		status, err := c.StatusOf(ctx, url)
		if err == nil {
			return status, nil
		}
		errs = append(errs, err)
	}
	return client.Status{}, fmt.Errorf("no node answers, is it running? %w", errors.Join(errs...))
}
