package load

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"
)

// Probe is one account that sends one transaction at a time to one node, over a connection that is kept open.
type Probe struct {
	chainID string
	key, to ed25519.PrivateKey
	nonce   uint64
	conn    *conn
}

// NewProbe connects the account numbered i, of which nobody else may make use, to a node.
func NewProbe(chainID string, i int, addr string, nonce uint64) (*Probe, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return &Probe{chainID: chainID, key: Key(i), to: Key((i + 1) % Accounts), nonce: nonce, conn: c}, nil
}

// Close ends the connection.
func (p *Probe) Close() { p.conn.close() }

// Nonce is how many of its transactions were acknowledged.
func (p *Probe) Nonce() uint64 { return p.nonce }

// Send sends one transaction, again while the node has no leader for it, and returns when it was acknowledged.
func (p *Probe) Send(ctx context.Context) (time.Time, error) { return p.transfer(ctx, public(p.to)) }

// transfer sends one transaction with a transfer to each of some accounts.
func (p *Probe) transfer(ctx context.Context, to ...[]byte) (time.Time, error) {
	req := request(p.chainID, p.key, p.nonce, to...)
	for {
		status, body, err := p.conn.do(req)
		switch {
		case err != nil:
			return time.Time{}, err
		case status == 200:
			p.nonce++
			return time.Now(), nil
		case status != 429 && status < 500:
			return time.Time{}, fmt.Errorf("answer %d: %s", status, body)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}
