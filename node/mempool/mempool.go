package mempool

import (
	"container/heap"
	"container/list"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

var (
	// ErrFull is returned when the pool holds as much as its limits allow.
	ErrFull = errors.New("mempool is full")
	// ErrDuplicate is returned when the pool holds the transaction already, also while it is taken.
	ErrDuplicate = errors.New("transaction is in the mempool already")
	// ErrTooManyAhead is returned when as many transactions of the account wait for an earlier nonce as may, and this
	// one would have to wait behind them.
	ErrTooManyAhead = errors.New("too many transactions of the account wait for an earlier nonce")
)

// Limits bounds a [Pool].
type Limits struct {
	// MaxTxs bounds the transactions held, MaxBytes their sizes in an encoded block. MaxBytes must be well above the
	// largest transaction.
	MaxTxs   int
	MaxBytes int
	// MaxPerAccountAhead bounds the transactions of one account that wait for an earlier nonce.
	MaxPerAccountAhead int
	// AheadWait is how long after coming in a transaction may wait for an earlier nonce.
	AheadWait time.Duration
}

// DefaultLimits returns the limits of a node in service.
func DefaultLimits() Limits {
	return Limits{MaxTxs: 50_000, MaxBytes: 64 << 20, MaxPerAccountAhead: 64, AheadWait: 2 * time.Second}
}

// Validate reports all limits that are not above zero, joined.
func (l Limits) Validate() error {
	var problems []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxTxs", int64(l.MaxTxs)},
		{"MaxBytes", int64(l.MaxBytes)},
		{"MaxPerAccountAhead", int64(l.MaxPerAccountAhead)},
		{"AheadWait", int64(l.AheadWait)},
	} {
		if f.value <= 0 {
			problems = append(problems, fmt.Errorf("mempool: %s is %d, must be above 0", f.name, f.value))
		}
	}
	return errors.Join(problems...)
}

// Pool holds transactions until they are in a block or impossible. It is safe for concurrent use and never blocks for
// long; Take and Settle are meant for one goroutine that builds blocks.
//
// Instants are what the caller says: durations since some fixed moment, of a clock that does not step back.
type Pool struct {
	limits Limits
	signal chan struct{}

	mu       sync.Mutex
	entries  map[block.Hash]*entry // all
	bytes    int                   // all
	taken    int                   // how many of entries are taken
	takenB   int                   // their bytes
	accounts map[chain.PublicKey]*account
	turns    list.List // *account, those with something ready
	waits    waitHeap  // all that wait
	arrivals uint64
}

type status uint8

const (
	statusReady status = iota + 1
	statusWaiting
	statusTaken
)

// entry is one transaction.
type entry struct {
	tx      *chain.Tx
	arrived time.Duration
	serial  uint64 // order of arrival
	status  status
	wait    int // place in waits, if waiting
}

// New returns an empty pool. The limits must be valid.
func New(limits Limits) *Pool {
	err := limits.Validate()
	invariant(err == nil, "%v", err)
	return &Pool{
		limits: limits, signal: make(chan struct{}, 1),
		entries: map[block.Hash]*entry{}, accounts: map[chain.PublicKey]*account{},
	}
}

// Ready returns a channel that gets a value when there may be something to take. A value can be one too many, never
// one too few: whoever takes until Take is empty, or once for each value, misses nothing.
func (p *Pool) Ready() <-chan struct{} { return p.signal }

// Len returns how many transactions are held and not taken.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries) - p.taken
}

// Takeable returns how many transactions a Take without bounds would return.
func (p *Pool) Takeable() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries) - p.taken - len(p.waits)
}

// Bytes returns the size of what Len counts.
func (p *Pool) Bytes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes - p.takenB
}

// Add takes in a transaction that arrived now. It returns [ErrDuplicate], [ErrFull] or [ErrTooManyAhead].
func (p *Pool) Add(tx *chain.Tx, now time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	hash := tx.Hash()
	if _, ok := p.entries[hash]; ok {
		return ErrDuplicate
	}
	if len(p.entries) >= p.limits.MaxTxs || p.bytes+tx.Size() > p.limits.MaxBytes {
		return ErrFull
	}
	if a := p.accounts[tx.Sender()]; a != nil && a.mustWait(tx.Nonce()) && len(a.waiting) >= p.limits.MaxPerAccountAhead {
		return ErrTooManyAhead
	}
	p.arrivals++
	e := &entry{tx: tx, arrived: now, serial: p.arrivals}
	p.entries[hash] = e
	p.bytes += tx.Size()
	p.place(e, false)
	p.notify()
	return nil
}

// Take takes out up to maxTxs ready transactions of up to maxBytes in all, accounts taking turns, each account's in the
// order of nonces. The first one is taken whatever its size, so that one that never fits is found out. Each transaction
// taken must come back through [Pool.Settle], [Pool.Return] or [Pool.Drop]; until then it counts towards the limits.
func (p *Pool) Take(maxTxs, maxBytes int) []*chain.Tx {
	p.mu.Lock()
	defer p.mu.Unlock()
	var txs []*chain.Tx
	for front := p.turns.Front(); front != nil && len(txs) < maxTxs; front = p.turns.Front() {
		a := front.Value.(*account)
		e := a.ready[0]
		size := e.tx.Size()
		if size > maxBytes && len(txs) > 0 {
			break
		}
		maxBytes -= size
		p.remove(e)
		e.status = statusTaken
		p.taken++
		p.takenB += size
		if a.turn != nil {
			p.turns.MoveToBack(a.turn)
		}
		txs = append(txs, e.tx)
	}
	p.notify()
	return txs
}

// Settle tells what became of transactions taken, one verdict each: what is included, rejected or behind is forgotten,
// what is ahead waits, what had no room is ready again and first. It returns those that were ahead or had no room and
// are not kept: more than may wait, or taken before a [Pool.Clear].
func (p *Pool) Settle(txs []*chain.Tx, verdicts []chain.Verdict) []*chain.Tx {
	invariant(len(txs) == len(verdicts), "%d transactions, %d verdicts", len(txs), len(verdicts))
	p.mu.Lock()
	defer p.mu.Unlock()
	var over []*chain.Tx
	var ahead, noRoom []*entry
	for i, tx := range txs {
		e := p.takenEntry(tx)
		switch kind := verdicts[i].Kind; kind {
		case chain.VerdictAhead, chain.VerdictNoRoom:
			switch {
			case e == nil:
				over = append(over, tx)
			case kind == chain.VerdictAhead:
				ahead = append(ahead, e)
			default:
				noRoom = append(noRoom, e)
			}
			continue
		case chain.VerdictIncluded:
			p.advance(tx.Sender(), tx.Nonce()+1)
		case chain.VerdictBehind:
			if verdicts[i].Err != nil {
				p.advance(tx.Sender(), verdicts[i].Err.ExpectedNonce)
			}
		case chain.VerdictRejected:
		}
		if e != nil {
			p.forget(e)
		}
	}
	for _, e := range ahead {
		p.untake(e)
		p.park(e)
	}
	p.giveBack(noRoom)
	for _, e := range append(ahead, noRoom...) {
		over = append(over, p.trim(e.tx.Sender())...)
	}
	p.notify()
	return over
}

// Return gives back transactions taken of which no block was tried. They are ready again and first.
func (p *Pool) Return(txs []*chain.Tx) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var back []*entry
	for _, tx := range txs {
		if e := p.takenEntry(tx); e != nil {
			back = append(back, e)
		}
	}
	p.giveBack(back)
	p.notify()
}

// Advance says that next is the account's next nonce: what waited for it, and the unbroken run of nonces behind it,
// becomes ready. Settle does so by itself for what it settles.
func (p *Pool) Advance(sender chain.PublicKey, next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(sender, next)
	p.notify()
}

// Expire takes out and returns, oldest first, what has waited for an earlier nonce until now for too long.
func (p *Pool) Expire(now time.Duration) []*chain.Tx {
	p.mu.Lock()
	defer p.mu.Unlock()
	var late []*chain.Tx
	for len(p.waits) > 0 && now-p.waits[0].arrived >= p.limits.AheadWait {
		e := p.waits[0]
		p.remove(e)
		p.forget(e)
		late = append(late, e.tx)
	}
	return late
}

// NextExpiry returns the instant at which [Pool.Expire] will next have something to return, and false if nothing waits.
func (p *Pool) NextExpiry() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waits) == 0 {
		return 0, false
	}
	return p.waits[0].arrived + p.limits.AheadWait, true
}

// Drop forgets a transaction in whatever state and reports whether it was held.
func (p *Pool) Drop(hash block.Hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[hash]
	if !ok {
		return false
	}
	if e.status == statusTaken {
		p.untake(e)
	} else {
		p.remove(e)
	}
	p.forget(e)
	return true
}

// Clear empties the pool and returns what was held and not taken, in the order of arrival. What is taken is forgotten
// but not returned, since it may be in a block.
func (p *Pool) Clear() []*chain.Tx {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.inOrder()
	clear(p.entries)
	clear(p.accounts)
	p.bytes, p.taken, p.takenB, p.waits = 0, 0, 0, nil
	p.turns.Init()
	return held
}

// notify tells the taker that something is ready.
func (p *Pool) notify() {
	if p.turns.Len() == 0 {
		return
	}
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

// takenEntry returns the entry of a transaction taken, nil if it is none.
func (p *Pool) takenEntry(tx *chain.Tx) *entry {
	if e, ok := p.entries[tx.Hash()]; ok && e.status == statusTaken && e.tx == tx {
		return e
	}
	return nil
}

// untake ends a taken entry's being so; it then stands nowhere.
func (p *Pool) untake(e *entry) {
	p.taken--
	p.takenB -= e.tx.Size()
	e.status = 0
}

// forget drops an entry that stands nowhere or is taken.
func (p *Pool) forget(e *entry) {
	if e.status == statusTaken {
		p.untake(e)
	}
	delete(p.entries, e.tx.Hash())
	p.bytes -= e.tx.Size()
}

// waitHeap orders what waits by arrival.
type waitHeap []*entry

var _ heap.Interface = (*waitHeap)(nil)

func (h waitHeap) Len() int { return len(h) }

func (h waitHeap) Less(i, j int) bool {
	if h[i].arrived != h[j].arrived {
		return h[i].arrived < h[j].arrived
	}
	return h[i].serial < h[j].serial
}

func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].wait, h[j].wait = i, j
}

// Push appends an entry; only package heap calls it.
func (h *waitHeap) Push(x any) {
	e := x.(*entry)
	e.wait = len(*h)
	*h = append(*h, e)
}

// Pop removes the last entry; only package heap calls it.
func (h *waitHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("mempool: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
