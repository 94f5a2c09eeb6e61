package load

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// Shape says how much traffic there is.
type Shape struct {
	Groups  int
	Members int // accounts of a group
	Readers int // of a group
	// Rate is how many operations a second all clients try to make together.
	Rate float64
	Seed uint64
}

// StartBalance is what every account has at genesis.
const StartBalance = 1_000_000

// maxAmount bounds what one payment moves, so that no honest one can overspend for a long time.
const maxAmount = 5

// Kind says what an operation is.
type Kind uint8

// The kinds of operations.
const (
	Transfer Kind = iota + 1
	Read
)

// Outcome says what an operation came to.
type Outcome uint8

// The outcomes. An operation that is Unknown at the end of a run was never answered.
const (
	Unknown Outcome = iota
	Done
	// Refused: answered that it is not, and will not be, executed.
	Refused
)

// Op is one operation of one client.
type Op struct {
	Client  int
	Group   int
	Kind    Kind
	Account int // who pays, or is read
	To      int // who is paid
	Amount  uint64
	Nonce   uint64
	Hash    block.Hash
	Call    time.Duration // since the load began
	Return  time.Duration
	Tries   int
	Outcome Outcome
	Receipt client.Receipt
	// Of a read.
	GotNonce   uint64
	GotBalance uint64
	GotHeight  uint64
}

// Account is one account of the load.
type Account struct {
	Key   ed25519.PrivateKey
	Pub   string // hex
	Group int
}

// Load is running traffic. Make it with [New], then Start it.
type Load struct {
	shape    Shape
	chainID  string
	urls     []string
	Accounts []Account
	Began    time.Time

	http    *http.Client
	stop    chan struct{}
	once    sync.Once
	writers sync.WaitGroup
	readers sync.WaitGroup
	acks    atomic.Int64

	mu     sync.Mutex
	ops    []Op
	ackAt  []time.Duration // of acknowledgements, ascending
	broken []string
}

// New makes the accounts of a load. Fund says what genesis must give them.
func New(s Shape) *Load {
	l := &Load{shape: s, stop: make(chan struct{})}
	for i := range s.Groups * s.Members {
		var seed [16]byte
		binary.BigEndian.PutUint64(seed[:8], s.Seed)
		binary.BigEndian.PutUint64(seed[8:], uint64(i))
		sum := sha256.Sum256(append([]byte("baton/chaos/account\n"), seed[:]...))
		key := ed25519.NewKeyFromSeed(sum[:])
		l.Accounts = append(l.Accounts, Account{
			Key: key, Pub: hex.EncodeToString(key.Public().(ed25519.PublicKey)), Group: i / s.Members,
		})
	}
	l.http = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: 256, IdleConnTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return l
}

// Fund returns the first balances.
func (l *Load) Fund() map[string]uint64 {
	fund := map[string]uint64{}
	for _, a := range l.Accounts {
		fund[a.Pub] = StartBalance
	}
	return fund
}

// Start begins the traffic. It goes on until Finish.
func (l *Load) Start(ctx context.Context, chainID string, urls []string) error {
	l.chainID, l.urls, l.Began = chainID, urls, time.Now()
	s := l.shape
	clients := s.Groups * (s.Members + s.Readers)
	every := time.Duration(float64(clients) / s.Rate * float64(time.Second))
	for i := range l.Accounts {
		cl, err := l.client(i)
		if err != nil {
			return err
		}
		l.writers.Go(func() { l.write(ctx, i, cl, every) })
	}
	for r := range s.Groups * s.Readers {
		cl, err := client.New([]string{urls[r%len(urls)]}, l.options())
		if err != nil {
			return err
		}
		l.readers.Go(func() { l.read(ctx, len(l.Accounts)+r, r/s.Readers, cl, every) })
	}
	return nil
}

// client returns a client of all nodes that asks the i-th first.
func (l *Load) client(i int) (*client.Client, error) {
	k := i % len(l.urls)
	return client.New(append(append([]string(nil), l.urls[k:]...), l.urls[:k]...), l.options())
}

func (l *Load) options() client.Options {
	return client.Options{
		HTTP: l.http, Hedge: 700 * time.Millisecond, AttemptTimeout: 10 * time.Second,
		BackoffMin: 20 * time.Millisecond, BackoffMax: 500 * time.Millisecond,
	}
}

// Finish ends the traffic: no client begins anything more, and those that wait for an answer go on asking until ctx ends.
func (l *Load) Finish(ctx context.Context) {
	l.once.Do(func() { close(l.stop) })
	done := make(chan struct{})
	go func() {
		l.readers.Wait()
		l.writers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	l.http.CloseIdleConnections()
}

// Acks returns how many payments were acknowledged.
func (l *Load) Acks() int64 { return l.acks.Load() }

// LastAck returns when the newest payment was acknowledged.
func (l *Load) LastAck() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ackAt) == 0 {
		return l.Began
	}
	return l.Began.Add(l.ackAt[len(l.ackAt)-1])
}

// Ops returns the history so far, in the order in which operations ended.
func (l *Load) Ops() []Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Op(nil), l.ops...)
}

// Broken returns answers that no correct cluster gives.
func (l *Load) Broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.broken...)
}

func (l *Load) note(op Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op)
	if op.Kind == Transfer && op.Outcome == Done {
		l.ackAt = append(l.ackAt, op.Return)
		l.acks.Add(1)
	}
}

func (l *Load) breach(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.broken) < 50 {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

func (l *Load) now() time.Duration { return time.Since(l.Began) }

// pause waits a random time of the given mean; false when the traffic ends.
func (l *Load) pause(ctx context.Context, rng *rand.Rand, mean time.Duration) bool {
	timer := time.NewTimer(min(time.Duration(rng.ExpFloat64()*float64(mean)), 5*mean))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stop:
		return false
	case <-ctx.Done():
		return false
	}
}

func (l *Load) running(ctx context.Context) bool {
	select {
	case <-l.stop:
		return false
	default:
		return ctx.Err() == nil
	}
}

// write is the one writer of an account.
func (l *Load) write(ctx context.Context, who int, cl *client.Client, every time.Duration) {
	rng := rand.New(rand.NewPCG(l.shape.Seed, uint64(1000+who)))
	group := l.Accounts[who].Group
	nonce := uint64(0)
	for l.pause(ctx, rng, every) {
		to := group*l.shape.Members + (who%l.shape.Members+1+rng.IntN(l.shape.Members-1))%l.shape.Members
		op := Op{
			Client: who, Group: group, Kind: Transfer, Account: who, To: to, Amount: 1 + rng.Uint64N(maxAmount), Nonce: nonce,
		}
		overspend := rng.IntN(50) == 0
		if overspend { // more than there is in the group: must be refused, whatever the state
			op.Amount = StartBalance*uint64(l.shape.Members) + 1
		}
		twice := rng.IntN(20) == 0
		if !l.pay(ctx, cl, &op, twice) {
			return
		}
		if overspend && op.Outcome == Done {
			l.breach("I16: account %d paid %d, which is more than exists in its group", who, op.Amount)
		}
		if !overspend && op.Outcome == Refused {
			return // told; the account's nonces are in doubt
		}
		if op.Outcome == Done {
			nonce++
		}
	}
}

// retryEvery is how long one call of the client lasts before the history counts another try.
const retryEvery = 15 * time.Second

// pay sends one payment until its outcome is known or ctx ends (false).
func (l *Load) pay(ctx context.Context, cl *client.Client, op *Op, twice bool) bool {
	from, to := l.Accounts[op.Account], l.Accounts[op.To]
	tx, err := client.BuildTransfer(l.chainID, from.Key, op.Nonce, client.Transfer{
		To: to.Key.Public().(ed25519.PublicKey), Amount: strconv.FormatUint(op.Amount, 10),
	})
	if err != nil {
		l.breach("build a payment: %v", err)
		return false
	}
	op.Hash, op.Call = tx.Hash(), l.now()
	var echo chan client.Receipt
	if twice {
		echo = make(chan client.Receipt, 1)
		go l.echo(ctx, op.Account, tx, echo)
	}
	for {
		op.Tries++
		try, cancel := context.WithTimeout(ctx, retryEvery)
		receipt, err := cl.Submit(try, tx)
		cancel()
		var answer *client.APIError
		switch {
		case err == nil:
			op.Return, op.Outcome, op.Receipt = l.now(), Done, receipt
			l.note(*op)
			if echo != nil {
				if other := <-echo; other != (client.Receipt{}) && other != receipt {
					l.breach("I16: transaction %s has two receipts: %+v and %+v", op.Hash, receipt, other)
				}
			}
			return true
		case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrUnavailable):
		case errors.As(err, &answer):
			op.Return, op.Outcome = l.now(), Refused
			l.note(*op)
			if answer.Code != wire.CodeRejected {
				l.breach("I16: transaction %s, number %d of account %d, whose earlier ones were all acknowledged, is refused: %v",
					op.Hash, op.Nonce, op.Account, err)
			} else if op.Amount <= maxAmount {
				l.breach("I16: payment %s of %d by account %d, which has it, is refused: %v", op.Hash, op.Amount, op.Account, err)
			}
			return true
		default:
			l.breach("payment %s: %v", op.Hash, err)
			return false
		}
		if ctx.Err() != nil {
			op.Return = l.now()
			l.note(*op)
			return false
		}
	}
}

// echo sends the same payment through another node at the same time.
func (l *Load) echo(ctx context.Context, who int, tx *block.Tx, out chan<- client.Receipt) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var receipt client.Receipt
	if cl, err := l.client(who + 1); err == nil {
		if r, err := cl.Submit(ctx, tx); err == nil {
			receipt = r
		}
	}
	out <- receipt
}

// readTimeout is how long a reader waits for one answer.
const readTimeout = 3 * time.Second

// read reads accounts of a group through one node.
func (l *Load) read(ctx context.Context, id, group int, cl *client.Client, every time.Duration) {
	rng := rand.New(rand.NewPCG(l.shape.Seed, uint64(1000+id)))
	for l.pause(ctx, rng, every) {
		who := group*l.shape.Members + rng.IntN(l.shape.Members)
		op := Op{Client: id, Group: group, Kind: Read, Account: who, Tries: 1, Call: l.now()}
		try, cancel := context.WithTimeout(ctx, readTimeout)
		acc, err := cl.Account(try, l.Accounts[who].Key.Public().(ed25519.PublicKey))
		cancel()
		if err != nil {
			continue // a read without an answer says nothing
		}
		op.Return = l.now()
		balance, err := strconv.ParseUint(acc.Balances[client.NativeAsset], 10, 64)
		if err != nil && acc.Balances[client.NativeAsset] != "" {
			l.breach("I16: account %s has %q", acc.PublicKey, acc.Balances[client.NativeAsset])
			continue
		}
		op.Outcome, op.GotNonce, op.GotBalance, op.GotHeight = Done, acc.Nonce, balance, uint64(acc.Height)
		l.note(op)
	}
}
