package rival

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

var (
	errOverspend  = errors.New("the balance does not cover the amount")
	errNotPayment = errors.New("not a transfer of the native asset")
)

// holder is one account.
type holder struct {
	Nonce   uint64 `json:"nonce"`
	Balance uint64 `json:"balance"`
}

// outcome is what the ledger answers for one transaction: where it stands, or why not.
type outcome struct {
	index    uint64
	expected uint64 // with wrong
	wrong    bool   // the nonce is not the next one
	err      error
}

// ledger is the replicated state machine.
type ledger struct {
	ex *chain.Executor

	mu       sync.RWMutex
	accounts map[chain.PublicKey]holder
	applied  uint64
}

var _ raft.BatchingFSM = (*ledger)(nil)

func newLedger(g *chain.Genesis, ex *chain.Executor) (*ledger, error) {
	l := &ledger{ex: ex, accounts: map[chain.PublicKey]holder{}}
	for key, held := range g.Balances {
		n, err := strconv.ParseUint(held[chain.NativeAsset].String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("balance of %v: %w", key, err)
		}
		l.accounts[key] = holder{Balance: n}
	}
	return l, nil
}

// Entries of the log are the signature followed by the payload.
func encodeTx(tx *block.Tx) []byte {
	return append(append(make([]byte, 0, len(tx.Signature)+len(tx.Payload)), tx.Signature[:]...), tx.Payload...)
}

func decodeTx(data []byte) (*block.Tx, error) {
	if len(data) < block.SignatureBytes {
		return nil, fmt.Errorf("entry of %d bytes", len(data))
	}
	return &block.Tx{Signature: block.Signature(data[:block.SignatureBytes]), Payload: data[block.SignatureBytes:]}, nil
}

// Apply implements raft.FSM.
func (l *ledger) Apply(e *raft.Log) any { return l.ApplyBatch([]*raft.Log{e})[0] }

// ApplyBatch implements raft.BatchingFSM. Signatures are verified on all cores, unless this node did so before.
func (l *ledger) ApplyBatch(entries []*raft.Log) []any {
	const perWorker = 8 // as baton has it
	txs, errs := make([]*chain.Tx, len(entries)), make([]error, len(entries))
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(entries) {
				return
			}
			if entries[i].Type != raft.LogCommand {
				continue
			}
			raw, err := decodeTx(entries[i].Data)
			if err == nil {
				txs[i], err = l.ex.Parse(raw)
			}
			errs[i] = err
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(entries)/perWorker) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	out := make([]any, len(entries))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range entries {
		o := outcome{index: e.Index, err: errs[i]}
		if txs[i] != nil {
			l.pay(txs[i], &o)
		}
		out[i] = o
		l.applied = e.Index
	}
	return out
}

func (l *ledger) pay(tx *chain.Tx, o *outcome) {
	from := l.accounts[tx.Sender()]
	if o.expected = from.Nonce; tx.Nonce() != from.Nonce {
		o.wrong = true
		return
	}
	var sum uint64
	for _, m := range tx.Messages() {
		t, ok := m.Value.(chain.Transfer)
		amount, err := strconv.ParseUint(t.Amount.String(), 10, 64)
		if !ok || err != nil || t.Asset != chain.NativeAsset {
			o.err = errNotPayment
			return
		}
		sum += amount
	}
	if sum > from.Balance {
		o.err = errOverspend
		return
	}
	from.Nonce++
	from.Balance -= sum
	l.accounts[tx.Sender()] = from
	for _, m := range tx.Messages() {
		t := m.Value.(chain.Transfer)
		amount, _ := strconv.ParseUint(t.Amount.String(), 10, 64)
		to := l.accounts[t.To]
		to.Balance += amount
		l.accounts[t.To] = to
	}
}

func (l *ledger) account(key chain.PublicKey) (holder, uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.accounts[key], l.applied
}

// Snapshot implements raft.FSM.
func (l *ledger) Snapshot() (raft.FSMSnapshot, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return &snapshot{Accounts: maps.Clone(l.accounts), Applied: l.applied}, nil
}

// Restore implements raft.FSM.
func (l *ledger) Restore(r io.ReadCloser) error {
	defer r.Close() //nolint:errcheck // only read from
	var s snapshot
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts, l.applied = s.Accounts, s.Applied
	return nil
}

type snapshot struct {
	Accounts map[chain.PublicKey]holder `json:"accounts"`
	Applied  uint64                     `json:"applied"`
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		return errors.Join(fmt.Errorf("snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}
