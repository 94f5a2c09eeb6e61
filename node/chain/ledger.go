package chain

import "fmt"

// LedgerVersion is the code version of [Ledger].
const LedgerVersion = "1"

// Ledger is the built-in App: accounts that send each other assets. It has one message,
//
//	{"type":"transfer","to":"<64 hex>","asset":"native","amount":"5"}
//
// which moves the amount from the sender to that account, and no state besides the accounts.
type Ledger struct{}

// Transfer is the value of a "transfer" message.
type Transfer struct {
	To     PublicKey
	Asset  string
	Amount Amount
}

const transferType = "transfer"

// Name returns "ledger".
func (Ledger) Name() string { return "ledger" }

// CodeVersion returns [LedgerVersion].
func (Ledger) CodeVersion() string { return LedgerVersion }

// MessageTypes returns "transfer".
func (Ledger) MessageTypes() []string { return []string{transferType} }

// Decode reads a [Transfer].
func (Ledger) Decode(_ string, fields *Fields) (any, error) {
	t := Transfer{To: fields.PublicKey("to"), Asset: fields.String("asset"), Amount: fields.Amount("amount")}
	return t, fields.Err()
}

// Genesis writes nothing: the accounts are the chain's.
func (Ledger) Genesis(*Context, *Genesis) error { return nil }

// Execute moves the amount.
func (Ledger) Execute(ctx *Context, m Message) error {
	t, ok := m.Value.(Transfer)
	if !ok {
		return fmt.Errorf("unknown message type %q", m.Type)
	}
	return ctx.Transfer(ctx.Sender(), t.To, t.Asset, t.Amount)
}
