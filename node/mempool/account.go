package mempool

import (
	"cmp"
	"container/heap"
	"container/list"
	"slices"

	"github.com/baton-ha/baton/node/chain"
)

// account holds what is not taken of one account: two lists sorted by nonce (rivals for one nonce by arrival), of which
// the first ends where the second begins.
type account struct {
	sender  chain.PublicKey
	ready   []*entry
	waiting []*entry
	turn    *list.Element // in Pool.turns while something is ready
}

// mustWait reports whether a transaction with this nonce has something before it that waits.
func (a *account) mustWait(nonce uint64) bool {
	return len(a.waiting) > 0 && nonce >= a.waiting[0].tx.Nonce()
}

func compareEntries(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.tx.Nonce(), b.tx.Nonce()), cmp.Compare(a.serial, b.serial))
}

func insert(list []*entry, e *entry) []*entry {
	if n := len(list); n == 0 || compareEntries(list[n-1], e) < 0 {
		return append(list, e)
	}
	i, _ := slices.BinarySearchFunc(list, e, compareEntries)
	return slices.Insert(list, i, e)
}

func without(list []*entry, e *entry) []*entry {
	i, ok := slices.BinarySearchFunc(list, e, compareEntries)
	invariant(ok && list[i] == e, "a transaction is not in the list of its state")
	if i == 0 { // the usual case: no moving
		list[0] = nil
		return list[1:]
	}
	return slices.Delete(list, i, i+1)
}

// accountOf returns the sender's account, made if need be.
func (p *Pool) accountOf(sender chain.PublicKey) *account {
	a, ok := p.accounts[sender]
	if !ok {
		a = &account{sender: sender}
		p.accounts[sender] = a
	}
	return a
}

// place puts an entry that stands nowhere where it belongs.
func (p *Pool) place(e *entry, first bool) {
	a := p.accountOf(e.tx.Sender())
	if a.mustWait(e.tx.Nonce()) {
		p.putWaiting(a, e)
		return
	}
	p.putReady(a, e)
	if first {
		p.turns.MoveToFront(a.turn)
	}
	p.promote(a, e.tx.Nonce()+1)
}

// giveBack makes entries taken ready again, before all others and in their old order.
func (p *Pool) giveBack(entries []*entry) {
	for _, e := range slices.Backward(entries) {
		p.untake(e)
		p.place(e, true)
	}
}

// park makes an entry wait that was found to be ahead, and with it all ready ones above it: they are ahead as well. The
// one right before it may have come in meanwhile; then it is worth another try.
func (p *Pool) park(e *entry) {
	a := p.accountOf(e.tx.Sender())
	for n := len(a.ready); n > 0 && a.ready[n-1].tx.Nonce() >= e.tx.Nonce(); n = len(a.ready) {
		above := a.ready[n-1]
		p.takeReady(a, above)
		p.putWaiting(a, above)
	}
	if n := len(a.ready); n > 0 && a.ready[n-1].tx.Nonce()+1 == e.tx.Nonce() {
		p.putReady(a, e)
		p.promote(a, e.tx.Nonce()+1)
		return
	}
	p.putWaiting(a, e)
}

// trim drops the highest nonces of an account that waits with more than it may, and returns them.
func (p *Pool) trim(sender chain.PublicKey) []*chain.Tx {
	var over []*chain.Tx
	a := p.accounts[sender]
	for a != nil && len(a.waiting) > p.limits.MaxPerAccountAhead {
		e := a.waiting[len(a.waiting)-1]
		p.remove(e)
		p.forget(e)
		over = append(over, e.tx)
	}
	return over
}

// advance makes ready what waits for next or less, and the unbroken run of nonces behind.
func (p *Pool) advance(sender chain.PublicKey, next uint64) {
	if a := p.accounts[sender]; a != nil {
		p.promote(a, next)
	}
}

func (p *Pool) promote(a *account, next uint64) {
	for len(a.waiting) > 0 && a.waiting[0].tx.Nonce() <= next {
		e := a.waiting[0]
		p.takeWaiting(a, e)
		p.putReady(a, e)
		if e.tx.Nonce() == next && (len(a.waiting) == 0 || a.waiting[0].tx.Nonce() > next) {
			next++
		}
	}
}

func (p *Pool) putReady(a *account, e *entry) {
	e.status = statusReady
	a.ready = insert(a.ready, e)
	if a.turn == nil {
		a.turn = p.turns.PushBack(a)
	}
}

func (p *Pool) takeReady(a *account, e *entry) {
	a.ready = without(a.ready, e)
	e.status = 0
	if len(a.ready) == 0 {
		p.turns.Remove(a.turn)
		a.turn = nil
	}
}

func (p *Pool) putWaiting(a *account, e *entry) {
	e.status = statusWaiting
	a.waiting = insert(a.waiting, e)
	heap.Push(&p.waits, e)
}

func (p *Pool) takeWaiting(a *account, e *entry) {
	a.waiting = without(a.waiting, e)
	e.status = 0
	heap.Remove(&p.waits, e.wait)
}

// remove takes an entry that is ready or waits out of its account.
func (p *Pool) remove(e *entry) {
	a := p.accounts[e.tx.Sender()]
	invariant(a != nil, "a transaction has no account")
	if e.status == statusReady {
		p.takeReady(a, e)
	} else {
		p.takeWaiting(a, e)
	}
	if len(a.ready) == 0 && len(a.waiting) == 0 {
		delete(p.accounts, a.sender)
	}
}

// inOrder returns what is not taken in the order of arrival.
func (p *Pool) inOrder() []*chain.Tx {
	var entries []*entry
	for _, e := range p.entries {
		if e.status != statusTaken {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	txs := make([]*chain.Tx, len(entries))
	for i, e := range entries {
		txs[i] = e.tx
	}
	return txs
}
