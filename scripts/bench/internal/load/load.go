package load

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/scripts/bench/internal/proc"
)

// Key returns the private key of the account numbered i.
func Key(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("baton bench account "), uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Window says what to run.
type Window struct {
	// System names what is driven: nonces are counted for each.
	System  string   `json:"system"`
	ChainID string   `json:"chain_id"`
	Addrs   []string `json:"addrs"` // host:port of every node's API
	PIDs    []int    `json:"pids"`
	Clients int      `json:"clients"`
	// Spread has each client send to the nodes in turn; otherwise it stays with one.
	Spread bool `json:"spread"`
	// Warm and Measure are how long the window is driven before and while it counts.
	Warm    time.Duration `json:"warm"`
	Measure time.Duration `json:"measure"`
}

// Result says what happened between the end of the warm-up and the end of the window.
type Result struct {
	Seconds   float64 `json:"seconds"`
	Done      int     `json:"done"`
	PerSecond float64 `json:"per_second"`
	P50, P99  float64 // milliseconds
	// NodeP50 is P50 by the node that was asked, in the order of Addrs.
	NodeP50 []float64 `json:"node_p50"`
	// Cores used: by this process, by the nodes together, and by everything else on the machine.
	LoadCores, ServerCores, OtherCores float64
	// PIDCores is ServerCores by process.
	PIDCores []float64
	// Retries counts answers after which the same transaction was sent again, SignedLate those that had to be signed
	// inside the window.
	Retries, SignedLate int
	// Errors are what clients gave up on, at most a few.
	Errors []string
	// PerBlock is the mean number of transactions in a block, warm-up included. The caller fills it in.
	PerBlock float64
	// Elections is by how much the term grew. The caller fills it in.
	Elections int
	// Nonces is how many transactions each account had acknowledged so far, over all windows.
	Nonces []uint64
}

// Accounts is how many accounts there are, and so the most clients.
const Accounts = 512

type generator struct {
	keys   []ed25519.PrivateKey
	nonces map[string][]uint64
	rates  map[string]float64
}

// Serve runs windows until in ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	g := &generator{nonces: map[string][]uint64{}, rates: map[string]float64{}}
	for i := range Accounts {
		g.keys = append(g.keys, Key(i))
	}
	lines, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var w Window
		if err := lines.Decode(&w); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read window: %w", err)
		}
		r, err := g.run(ctx, w)
		if err != nil {
			return err
		}
		if err := answers.Encode(r); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
}

// sample is one acknowledged transaction.
type sample struct {
	at   time.Time
	took time.Duration
	node int
}

// client is one closed loop.
type client struct {
	w       *Window
	index   int
	key, to ed25519.PrivateKey
	nonce   uint64
	ready   [][]byte // requests signed before, from nonce on
	conns   []*conn
	samples []sample
	retries int
	late    int
	err     error
}

func (g *generator) run(ctx context.Context, w Window) (*Result, error) {
	if w.Clients < 1 || w.Clients > Accounts || len(w.Addrs) == 0 {
		return nil, fmt.Errorf("%d clients of %d nodes: want 1 to %d clients", w.Clients, len(w.Addrs), Accounts)
	}
	nonces := g.nonces[w.System]
	for len(nonces) < w.Clients {
		nonces = append(nonces, 0)
	}
	g.nonces[w.System] = nonces
	kind := fmt.Sprint(w.System, w.Clients)
	rate := g.rates[kind]
	if rate == 0 {
		rate = 7000
		if w.Clients == 1 {
			rate = 1500
		}
	}
	each := int(1.4*rate*(w.Warm+w.Measure).Seconds())/w.Clients + 16
	clients := make([]*client, w.Clients)
	var signing sync.WaitGroup
	for i := range clients {
		c := &client{w: &w, index: i, key: g.keys[i], to: g.keys[(i+1)%Accounts], nonce: nonces[i], conns: make([]*conn, len(w.Addrs))}
		clients[i] = c
		signing.Go(func() {
			for k := range each {
				c.ready = append(c.ready, request(w.ChainID, c.key, c.nonce+uint64(k), public(c.to)))
			}
		})
	}
	signing.Wait()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stop atomic.Bool
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() { c.loop(ctx, &stop) })
	}
	time.Sleep(w.Warm)
	before, err := proc.Take(w.PIDs)
	if err != nil {
		return nil, err
	}
	time.Sleep(w.Measure)
	after, err := proc.Take(w.PIDs)
	if err != nil {
		return nil, err
	}
	stop.Store(true)
	running.Wait()
	r := collect(clients, before, after)
	for i, c := range clients {
		nonces[i] = c.nonce
	}
	r.Nonces = slices.Clone(nonces)
	g.rates[kind] = r.PerSecond
	return r, nil
}

func collect(clients []*client, before, after proc.Sample) *Result {
	use := after.Since(before)
	r := &Result{
		Seconds: use.Seconds, LoadCores: use.Self, OtherCores: use.Others, PIDCores: use.PIDs,
	}
	for _, c := range use.PIDs {
		r.ServerCores += c
	}
	var all []time.Duration
	byNode := make([][]time.Duration, len(clients[0].w.Addrs))
	for _, c := range clients {
		for _, s := range c.samples {
			if s.at.After(before.At) && s.at.Before(after.At) {
				all = append(all, s.took)
				byNode[s.node] = append(byNode[s.node], s.took)
			}
		}
		r.Retries += c.retries
		r.SignedLate += c.late
		if c.err != nil && len(r.Errors) < 5 {
			r.Errors = append(r.Errors, fmt.Sprintf("client %d, nonce %d: %v", c.index, c.nonce, c.err))
		}
	}
	r.Done, r.PerSecond = len(all), float64(len(all))/use.Seconds
	r.P50, r.P99 = quantile(all, 0.5), quantile(all, 0.99)
	for _, some := range byNode {
		r.NodeP50 = append(r.NodeP50, quantile(some, 0.5))
	}
	return r
}

// quantile is in milliseconds.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[min(int(q*float64(len(all))), len(all)-1)]) / 1e6
}

func (c *client) loop(ctx context.Context, stop *atomic.Bool) {
	defer func() {
		for _, k := range c.conns {
			if k != nil {
				k.close()
			}
		}
	}()
	for sent := 0; !stop.Load(); sent++ {
		node := c.index % len(c.w.Addrs)
		if c.w.Spread {
			node = sent % len(c.w.Addrs)
		}
		var body []byte
		if sent < len(c.ready) {
			body = c.ready[sent]
		} else {
			c.late++
			body = request(c.w.ChainID, c.key, c.nonce, public(c.to))
		}
		begun := time.Now()
		if c.err = c.submit(ctx, node, body, begun); c.err != nil {
			return
		}
		now := time.Now()
		c.samples = append(c.samples, sample{at: now, took: now.Sub(begun), node: node})
		c.nonce++
	}
}

// patience is how long one transaction is tried.
const patience = 40 * time.Second

// submit sends one transaction until it is final, to the next node after an answer that allows it.
func (c *client) submit(ctx context.Context, node int, body []byte, begun time.Time) error {
	for {
		status, answer, err := c.send(node, body)
		switch {
		case err == nil && status == 200:
			return nil
		case err == nil && status != 429 && status < 500:
			return fmt.Errorf("status %d: %s", status, answer)
		case time.Since(begun) > patience:
			return fmt.Errorf("no final answer: status %d: %s (%w)", status, answer, err)
		}
		c.retries++
		node = (node + 1) % len(c.w.Addrs)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *client) send(node int, body []byte) (int, []byte, error) {
	k := c.conns[node]
	if k == nil {
		var err error
		if k, err = dial(c.w.Addrs[node]); err != nil {
			return 0, nil, err
		}
		c.conns[node] = k
	}
	status, answer, err := k.do(body)
	if err != nil {
		k.close()
		c.conns[node] = nil
	}
	return status, answer, err
}
