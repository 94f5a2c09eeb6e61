package judge

import (
	"fmt"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/baton-ha/baton/scripts/chaos/internal/load"
)

func number(n int) string { return strconv.Itoa(n) }

// maxMembers bounds the accounts of a group: the model's state is an array, so that it can be compared and hashed.
const maxMembers = 8

// bank is the state of one group of accounts.
type bank struct {
	balance [maxMembers]int64
	nonce   [maxMembers]uint64
}

// input is one operation of a group; places are those within the group.
type input struct {
	read     bool
	from, to int
	amount   int64
	nonce    uint64
}

// output is what a read was told.
type output struct {
	balance int64
	nonce   uint64
}

func model(members int) porcupine.Model {
	return porcupine.Model{
		Init: func() any {
			var b bank
			for i := range members {
				b.balance[i] = load.StartBalance
			}
			return b
		},
		Step: func(state, in, out any) (bool, any) {
			b, i := state.(bank), in.(input)
			if i.read {
				o := out.(output)
				return b.balance[i.from] == o.balance && b.nonce[i.from] == o.nonce, b
			}
			if b.nonce[i.from] != i.nonce || b.balance[i.from] < i.amount {
				return false, b
			}
			b.nonce[i.from]++
			b.balance[i.from] -= i.amount
			b.balance[i.to] += i.amount
			return true, b
		},
		DescribeOperation: func(in, out any) string {
			i := in.(input)
			if i.read {
				return fmt.Sprintf("read %d -> %+v", i.from, out)
			}
			return fmt.Sprintf("pay %d from %d to %d as number %d", i.amount, i.from, i.to, i.nonce)
		},
	}
}

// Linearizable judges the history alone, group by group, within a limit of time for all of them. Groups share no
// account, and linearizability is local: the whole is linearizable if and only if each group is. Refused payments had no
// effect; those without an answer may have taken effect at any time since, or never: the former are told by the chain.
func Linearizable(ops []load.Op, groups, members int, c *Chain, limit time.Duration) *Verdict {
	v := NewVerdict("the history alone is linearizable (porcupine)", "I13 I16")
	byGroup := make([][]porcupine.Operation, groups)
	count := 0
	for _, op := range ops {
		p := porcupine.Operation{ClientId: op.Client, Call: int64(op.Call), Return: int64(op.Return)}
		first := op.Group * members
		switch {
		case op.Kind == load.Read:
			p.Input, p.Output = input{read: true, from: op.Account - first}, output{int64(op.GotBalance), op.GotNonce}
		case op.Outcome == load.Refused:
			continue
		case op.Outcome == load.Unknown:
			if _, there := c.txs[op.Hash]; !there {
				continue
			}
			p.Return = int64(1<<62 - 1)
			fallthrough
		default:
			p.Input = input{from: op.Account - first, to: op.To - first, amount: int64(op.Amount), nonce: op.Nonce}
		}
		byGroup[op.Group] = append(byGroup[op.Group], p)
		count++
	}
	m := model(members)
	begin := time.Now()
	done := 0
	for g, history := range byGroup {
		left := (limit - time.Since(begin)) / time.Duration(groups-g)
		if left <= 0 {
			left = time.Millisecond
		}
		switch porcupine.CheckOperationsTimeout(m, history, left) {
		case porcupine.Ok:
			done++
		case porcupine.Illegal:
			v.Fail("I13: the history of group %d (%d operations) has no linearization", g, len(history))
			done++
		case porcupine.Unknown:
			if v.Result == Pass {
				v.Result = Cut
			}
		}
	}
	return v.Say("%d operations in %d groups; %d groups decided within %v", count, groups, done, limit)
}
