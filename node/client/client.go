package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

var (
	// ErrUnavailable is returned, wrapped, when the context ended and no node could be made to take the request. A
	// transaction was certainly never proposed.
	ErrUnavailable = errors.New("no node took the request")
	// ErrUnknownOutcome is returned, wrapped, when the context ended before a final answer and a node may have taken the
	// transaction: it may or may not become final. Submit the same transaction again to find out.
	ErrUnknownOutcome = errors.New("the transaction's outcome is not known: submit the same one again")
	// ErrEarlierAttempt is returned, joined to an [*APIError], when a refusal rests on the state of the moment (rejected,
	// bad_nonce) while another node, which was asked before and gave no answer, may still hold a copy of the transaction.
	// Should the state change, the copy could yet be executed, until its nonce is used or its max_height has passed.
	ErrEarlierAttempt = errors.New("a node that did not answer may still hold the transaction")
)

// The answers are the shapes of the wire.
type (
	// Height is a block's position in the chain.
	Height = block.Height
	// Receipt says where a final transaction stands.
	Receipt = wire.Receipt
	// Account is an account's state.
	Account = wire.Account
	// Status is what a node knows of itself and its cluster.
	Status = wire.Status
	// Block is a final block.
	Block = wire.Block
	// Event is one entry of the events stream.
	Event = wire.Event
	// APIError is an answer that is not a success: its status, code, message and, for bad_nonce, the expected nonce.
	APIError = wire.Error
)

// Options tune a [Client]. The zero value of each field means its default.
type Options struct {
	// HTTP does the requests. It must not follow redirects to strangers and needs no timeout. Default: one of our own.
	HTTP *http.Client
	// Hedge is how long a node may stay silent before the next one is asked beside it. Default 3 s.
	Hedge time.Duration
	// AttemptTimeout is how long one node is waited for at all; it should be above the 30 s after which a node answers
	// unknown_outcome. Default 40 s.
	AttemptTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait before a node is asked again, which doubles each time and of which the
	// upper half is random. Defaults 100 ms and 3 s.
	BackoffMin, BackoffMax time.Duration
	// StreamSilence is how long a stream of events may say nothing, not even that it is alive. Default 30 s, three of a
	// node's heartbeats.
	StreamSilence time.Duration
	// Rand returns a number in [0, n), for the waits. It must be safe for concurrent use. Default: math/rand/v2.
	Rand func(n int64) int64
}

// Client talks to the nodes of one cluster. Make it with [New].
type Client struct {
	urls []string
	opts Options
	next atomic.Uint64 // index of the node that is asked first: the last one that gave a final answer
}

// New makes a client of the nodes at urls, such as "http://10.0.0.1:7002". It connects to nobody yet.
func New(urls []string, opts Options) (*Client, error) {
	if len(urls) == 0 {
		return nil, errors.New("client: no API address")
	}
	c := &Client{opts: opts}
	for _, text := range urls {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("client: API address %q: %w", text, err)
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("client: API address %q: must look like http://host:port", text)
		}
		c.urls = append(c.urls, strings.TrimRight(u.String(), "/"))
	}
	c.opts.Hedge = orDefault(opts.Hedge, 3*time.Second)
	c.opts.AttemptTimeout = orDefault(opts.AttemptTimeout, 40*time.Second)
	c.opts.BackoffMin = orDefault(opts.BackoffMin, 100*time.Millisecond)
	c.opts.BackoffMax = max(orDefault(opts.BackoffMax, 3*time.Second), c.opts.BackoffMin)
	c.opts.StreamSilence = orDefault(opts.StreamSilence, 30*time.Second)
	if c.opts.Rand == nil {
		c.opts.Rand = rand.Int64N
	}
	if c.opts.HTTP == nil {
		c.opts.HTTP = defaultHTTP()
	}
	return c, nil
}

// URLs returns the nodes' addresses in the order in which they were given.
func (c *Client) URLs() []string { return slices.Clone(c.urls) }

// Close ends idle connections. The client may be used again.
func (c *Client) Close() { c.opts.HTTP.CloseIdleConnections() }

// defaultHTTP notices a host that is gone within seconds and follows no redirect: a node never answers one.
func defaultHTTP() *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 10 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   256,
			IdleConnTimeout:       time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// outcome is what is known after one attempt.
type outcome int

const (
	// final: the answer counts, whether receipt or refusal.
	final outcome = iota + 1
	// notTaken: the node did certainly nothing with the request.
	notTaken
	// unknown: the node may have taken it.
	unknown
)

// errNotSent marks an attempt that never had a connection: the node cannot have seen the request.
var errNotSent = errors.New("not sent")

// judge tells what an attempt's error means. What a node says about the request itself is final; everything about the
// node, or from something that is no node, is tried elsewhere.
func judge(err error) outcome {
	var answer *APIError
	switch {
	case err == nil:
		return final
	case errors.Is(err, errNotSent):
		return notTaken
	case !errors.As(err, &answer):
		return unknown
	}
	switch {
	case answer.Code == wire.CodeNoLeader || answer.Code == wire.CodeOverloaded:
		return notTaken
	case answer.Code == "" || answer.Status >= 500 || answer.Status == http.StatusRequestTimeout:
		return unknown
	default:
		return final
	}
}

// backoff returns the wait before a node's n-th repetition, n from 0, and at least what the node asked for.
func (c *Client) backoff(n int, err error) time.Duration {
	wait := c.opts.BackoffMax
	if n < 16 { // beyond, the doubling is past any bound
		wait = min(c.opts.BackoffMin<<n, c.opts.BackoffMax)
	}
	half := int64(wait / 2)
	wait = time.Duration(half + c.opts.Rand(half+1))
	var answer *APIError
	if errors.As(err, &answer) && answer.RetryAfter > wait {
		// A little more, so that those who were told the same do not come back together.
		wait = answer.RetryAfter + time.Duration(c.opts.Rand(int64(c.opts.BackoffMin)+1))
	}
	return wait
}
