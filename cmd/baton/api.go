package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	urls := f.urls
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return nil, nil, nil, err
		}
		urls = []string{localURL(cfg.API.Listen)}
	}
	c, err = client.New(urls, client.Options{})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--api: %w", err)
	}
	ctx, cancel := context.WithTimeout(parent, f.timeout)
	return ctx, c, func() { cancel(); c.Close() }, nil
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
