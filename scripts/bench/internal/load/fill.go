package load

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/baton-ha/baton/node/chain"
)

// fillers is how many accounts send at a time.
const fillers = 64

// Fill makes n accounts that nobody has the keys of, by transactions with as many transfers as one may have, which go to
// all nodes in turn. It returns how many transactions each of the accounts that sent had acknowledged.
func Fill(ctx context.Context, chainID string, addrs []string, n int) (nonces []uint64, err error) {
	nonces = make([]uint64, fillers)
	errs := make([]error, fillers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range fillers {
		wg.Go(func() { nonces[i], errs[i] = fill(ctx, chainID, i, addrs[i%len(addrs)], n, &next) })
	}
	wg.Wait()
	return nonces, errors.Join(errs...)
}

func fill(ctx context.Context, chainID string, i int, addr string, n int, next *atomic.Int64) (uint64, error) {
	p, err := NewProbe(chainID, i, addr, 0)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for {
		end := int(next.Add(chain.MaxMessages))
		first := end - chain.MaxMessages
		if first >= n {
			return p.Nonce(), nil
		}
		var to [][]byte
		for k := first; k < min(end, n); k++ {
			account := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("baton bench filler "), uint64(k))) //nolint:gosec // it is positive
			to = append(to, account[:])
		}
		if _, err := p.transfer(ctx, to...); err != nil {
			return p.Nonce(), fmt.Errorf("fill with accounts: %w", err)
		}
	}
}
