package judge

import (
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
)

// Receipts compares what clients were told with the chain: each acknowledged payment stands once, where its receipt
// says, and none that was refused stands at all. Broken are answers that no correct cluster gives.
func (c *Chain) Receipts(ops []load.Op, broken []string) *Verdict {
	v := NewVerdict("every acknowledged payment is in the chain exactly once", "I16")
	for _, b := range broken {
		v.Fail("%s", b)
	}
	told := map[block.Hash]bool{}
	acked, refused, unknown := 0, 0, 0
	for _, op := range ops {
		if op.Kind != load.Transfer {
			continue
		}
		told[op.Hash] = true
		at, there := c.txs[op.Hash]
		switch op.Outcome {
		case load.Done:
			acked++
			switch {
			case !there:
				v.Fail("I16: payment %s was acknowledged in block %d and is in no block", op.Hash, op.Receipt.Height)
			case at != (position{op.Receipt.Height, op.Receipt.Index}) || c.hashes[at.height] != op.Receipt.BlockHash:
				v.Fail("I16: payment %s was acknowledged at %d/%d in %s and stands at %d/%d in %s", op.Hash,
					op.Receipt.Height, op.Receipt.Index, op.Receipt.BlockHash, at.height, at.index, c.hashes[at.height])
			}
		case load.Refused:
			refused++
			if there {
				v.Fail("I16: payment %s was refused and stands in block %d", op.Hash, at.height)
			}
		case load.Unknown:
			unknown++
		}
	}
	for _, e := range c.order {
		if !told[e.hash] {
			v.Fail("I16: block %d has payment %s, which no client sent", e.at.height, e.hash)
		}
	}
	return v.Say("%d acknowledged, %d refused (all overspending), %d without an answer", acked, refused, unknown)
}

// step is an operation at its place in the witness.
type step struct {
	at position
	op *load.Op
}

// Witness takes the chain's order as the order in which operations took effect and checks that it respects real time:
// nothing takes effect before something that had ended before it began. A read takes effect after the block whose height
// it named, and must have seen exactly that state. This is exact and covers all groups at once.
func (c *Chain) Witness(ops []load.Op, accounts []load.Account, fund map[string]uint64) *Verdict {
	v := NewVerdict("reads and payments are linearizable, with the chain as witness", "I13")
	var steps []step
	reads := 0
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Outcome != load.Done:
		case op.Kind == load.Transfer:
			if at, ok := c.txs[op.Hash]; ok {
				steps = append(steps, step{at: at, op: op})
			}
		case op.Kind == load.Read:
			reads++
			if op.GotHeight > uint64(c.Height) {
				v.Fail("I13: a read saw height %d, the chain ends at %d", op.GotHeight, c.Height)
				continue
			}
			steps = append(steps, step{at: position{block.Height(op.GotHeight), ^uint32(0)}, op: op})
		}
	}
	sortBy(steps, func(a, b step) int { return a.at.compare(b.at) })
	inTime(v, steps)
	c.seen(v, steps, accounts, fund)
	return v.Say("%d payments and %d reads in the order of the chain", len(steps)-reads, reads)
}

// inTime checks that no step ended before an earlier one began.
func inTime(v *Verdict, steps []step) {
	var latest *step // of those strictly before, the one that began last
	for i := 0; i < len(steps); {
		j := i
		for j < len(steps) && steps[j].at == steps[i].at {
			if s := &steps[j]; latest != nil && s.op.Return < latest.op.Call {
				v.Fail("I13: %s took effect after %s, though it had ended %v before that one began",
					describe(s), describe(latest), latest.op.Call-s.op.Return)
			}
			j++
		}
		for k := i; k < j; k++ {
			if latest == nil || steps[k].op.Call > latest.op.Call {
				latest = &steps[k]
			}
		}
		i = j
	}
}

// seen replays the chain and compares what each read was told.
func (c *Chain) seen(v *Verdict, steps []step, accounts []load.Account, fund map[string]uint64) {
	l := newLedger(fund)
	scratch := NewVerdict("", "")
	next := 0
	for i := range steps {
		s := &steps[i]
		if s.op.Kind != load.Read {
			continue
		}
		for next < len(c.order) && c.order[next].at.compare(s.at) < 0 {
			l.apply(scratch, c.order[next])
			next++
		}
		key := accounts[s.op.Account].Pub
		if l.nonce[key] != s.op.GotNonce || l.balance[key] != int64(s.op.GotBalance) {
			v.Fail("I13: %s said balance %d and nonce %d; at that height they are %d and %d",
				describe(s), s.op.GotBalance, s.op.GotNonce, l.balance[key], l.nonce[key])
		}
	}
}

func describe(s *step) string {
	if s.op.Kind == load.Read {
		return "the read of account " + number(s.op.Account) + " at height " + number(int(s.op.GotHeight)) +
			" (" + s.op.Call.Round(time.Millisecond).String() + " to " + s.op.Return.Round(time.Millisecond).String() + ")"
	}
	return "payment " + s.op.Hash.String()[:12] + " in block " + number(int(s.at.height)) +
		" (" + s.op.Call.Round(time.Millisecond).String() + " to " + s.op.Return.Round(time.Millisecond).String() + ")"
}
