package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// counter is an App with a state of its own: a number that "add" raises and that "fail" raises and then refuses,
// and keys that "put" and "drop" change. "time" stores what the Context says.
type counter struct{ version string }

type counterValue struct {
	key, value string
}

func (counter) Name() string           { return "counter" }
func (c counter) CodeVersion() string  { return c.version }
func (counter) MessageTypes() []string { return []string{"add", "fail", "put", "drop", "time", "pay"} }

func (counter) Decode(typ string, f *Fields) (any, error) {
	var v counterValue
	if typ == "put" || typ == "drop" {
		v.key = f.String("key")
	}
	if typ == "put" {
		v.value = f.String("value")
	}
	return v, f.Err()
}

func (counter) Genesis(ctx *Context, g *Genesis) error {
	return ctx.Set([]byte("n"), binary.BigEndian.AppendUint64(nil, uint64(len(g.Balances))))
}

func (counter) Execute(ctx *Context, m Message) error {
	v := m.Value.(counterValue)
	switch m.Type {
	case "add", "fail":
		data, ok, err := ctx.Get([]byte("n"))
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("no counter")
		}
		if err := ctx.Set([]byte("n"), binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(data)+1)); err != nil {
			return err
		}
		data[0] = 0xff // must not reach the state
		if m.Type == "fail" {
			return errors.New("as asked")
		}
	case "put":
		return ctx.Set([]byte(v.key), []byte(v.value))
	case "drop":
		return ctx.Delete([]byte(v.key))
	case "time":
		return ctx.Set([]byte("time"), fmt.Appendf(nil, "%d %d %s", ctx.Height(), ctx.TimeMs(), ctx.Sender()))
	case "pay":
		held, err := ctx.Balance(ctx.Sender(), NativeAsset)
		if err != nil {
			return err
		}
		return ctx.Transfer(ctx.Sender(), PublicKey{1}, NativeAsset, held)
	}
	return nil
}

func counterGenesis(ws []wallet) *Genesis {
	g := testGenesis(ws)
	g.ChainVersion = "c1"
	return g
}

func appValue(t *testing.T, s *State, key string) string {
	t.Helper()
	v, ok, err := s.AppValue("counter", []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return "nothing"
	}
	return string(v)
}

func TestAppState(t *testing.T) {
	ws := newWallets(2)
	e, s := newChain(t, counterGenesis(ws), counter{"c1"})
	nonce := uint64(0)
	step := func(messages string) Verdict {
		t.Helper()
		txs := mustParse(t, e, ws[0].messages(nonce, 0, messages))
		b, next, verdicts := mustBuild(t, e, s, txs...)
		if b != nil {
			applied, err := newExecutor(t, counterGenesis(ws), counter{"c1"}).Apply(s, b)
			if err != nil || applied.Root() != next.Root() {
				t.Fatalf("Apply differs: %v", err)
			}
			nonce++
		}
		s = next
		return verdicts[0]
	}
	number := func() uint64 { return binary.BigEndian.Uint64([]byte(appValue(t, s, "n"))) }

	if number() != 2 {
		t.Errorf("after genesis: %d", number())
	}
	step(`{"type":"add"},{"type":"add"}`)
	if number() != 4 {
		t.Errorf("after two adds: %d", number())
	}
	before := s.Root()
	v := step(`{"type":"add"},{"type":"put","key":"x","value":"1"},{"type":"drop","key":"n"},{"type":"fail"}`)
	if v.Kind != VerdictRejected || !strings.Contains(v.Err.Message, "no counter") || s.Root() != before {
		t.Errorf("%+v %v", v, v.Err)
	}
	if v := step(`{"type":"fail"}`); v.Err == nil || v.Err.Message != "as asked" || number() != 4 {
		t.Errorf("%+v, counter at %d", v.Err, number())
	}
	step(`{"type":"put","key":"x","value":"1"},{"type":"put","key":"y","value":""}`)
	if x, y := appValue(t, s, "x"), appValue(t, s, "y"); x != "1" || y != "" {
		t.Errorf("x is %q, y is %q", x, y)
	}
	step(`{"type":"drop","key":"x"},{"type":"drop","key":"never"},{"type":"put","key":"y","value":"2"}`)
	if x, y := appValue(t, s, "x"), appValue(t, s, "y"); x != "nothing" || y != "2" {
		t.Errorf("x is %q, y is %q", x, y)
	}
	step(`{"type":"time"}`)
	if got, want := appValue(t, s, "time"), fmt.Sprintf("4 %d %s", s.TimeMs(), ws[0].pub); got != want {
		t.Errorf("context says %q, want %q", got, want)
	}
	step(`{"type":"pay"}`)
	if got := balance(t, s, PublicKey{1}, NativeAsset); got != "1000" {
		t.Errorf("payee holds %s", got)
	}
	if v := step(`{"type":"pay"}`); v.Err == nil || v.Err.Message != ErrZeroAmount.Error() {
		t.Errorf("%+v", v.Err)
	}
	if v := step(`{"type":"put","key":"","value":"1"}`); v.Err == nil || v.Err.Message != ErrEntrySize.Error() {
		t.Errorf("%+v", v.Err)
	}
	long := strings.Repeat("k", merkle.MaxKeyBytes)
	if v := step(`{"type":"put","key":"` + long + `","value":"1"}`); v.Err == nil || v.Err.Kind != Rejected {
		t.Errorf("%+v", v.Err)
	}
	if v := step(`{"type":"drop","key":"` + long + long + `"}`); v.Kind != VerdictIncluded {
		t.Errorf("dropping what cannot be there: %+v", v.Err)
	}
	if _, err := e.Parse(ws[0].messages(0, 0, `{"type":"add","key":"x"}`)); kindOf(err) != Malformed {
		t.Errorf("a field that the App does not read: %v", err)
	}
	if _, err := e.Parse(ws[0].messages(0, 0, transferJSON(ws[1].pub, NativeAsset, "1"))); kindOf(err) != Malformed {
		t.Errorf("a type that the App does not know: %v", err)
	}
}

// A refused transaction must leave nothing behind for the ones after it in the same block.
func TestRefusedAppWritesAreUndone(t *testing.T) {
	ws := newWallets(3)
	e, s := newChain(t, counterGenesis(ws), counter{"c1"})
	good := mustParse(t, e,
		ws[0].messages(0, 0, `{"type":"put","key":"x","value":"1"}`),
		ws[0].messages(1, 0, `{"type":"add"}`),
	)
	bad := mustParse(t, e, ws[1].messages(0, 0,
		`{"type":"put","key":"x","value":"2"},{"type":"put","key":"z","value":"3"},{"type":"add"},{"type":"pay"},{"type":"fail"}`))
	_, want, _ := mustBuild(t, e, s, good...)
	_, got, verdicts := mustBuild(t, e, s, good[0], bad[0], good[1])
	if verdicts[1].Kind != VerdictRejected {
		t.Fatalf("%+v", verdicts[1])
	}
	if got.Root() != want.Root() {
		t.Errorf("x is %q, z is %q, %s native left", appValue(t, got, "x"), appValue(t, got, "z"),
			balance(t, got, ws[1].pub, NativeAsset))
	}
}

// With several code versions, the one of the chain executes, whichever parsed.
func TestCodeOfTheChainVersionExecutes(t *testing.T) {
	ws := newWallets(2)
	g := testGenesis(ws)
	e, s := newChain(t, g, counter{"c1"}, renamed{version: "9"}, Ledger{})
	if got := strings.Join(e.CodeVersions(), " "); got != "c1 9 1" {
		t.Errorf("versions %s", got)
	}
	txs := mustParse(t, e,
		ws[0].messages(0, 0, transferJSON(ws[1].pub, NativeAsset, "5")), // decoded by version 9 first
		ws[1].messages(0, 0, `{"type":"add"}`),                          // which the chain's version does not know
	)
	_, next, verdicts := mustBuild(t, e, s, txs...)
	if verdicts[0].Kind != VerdictIncluded || balance(t, next, ws[1].pub, NativeAsset) != "1005" {
		t.Errorf("%+v", verdicts[0])
	}
	if v := verdicts[1]; v.Kind != VerdictRejected || v.Err.Kind != Malformed {
		t.Errorf("%+v", v)
	}

	newer := *s
	p := *s.params
	p.chainVersion = "77"
	newer.params = &p
	if _, _, _, err := e.Build(&newer, BuildSpec{}, txs); !errors.Is(err, ErrNoCode) {
		t.Errorf("Build without code: %v", err)
	}
}
