package chain

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

func kindOf(err error) ErrorKind {
	if fault, ok := errors.AsType[*TxError](err); ok {
		return fault.Kind
	}
	return 0
}

func TestParse(t *testing.T) {
	ws := newWallets(2)
	e := newExecutor(t, testGenesis(ws))
	raw := ws[0].messages(18446744073709551614, 77, transferJSON(ws[1].pub, "gold", "12")+","+
		strings.ReplaceAll(transferJSON(ws[0].pub, NativeAsset, "3"), `"type"`, `"t\u0079pe"`))
	tx, err := e.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Raw() != raw || tx.Hash() != raw.Hash() || tx.Sender() != ws[0].pub || tx.Nonce() != 18446744073709551614 ||
		tx.MaxHeight() != 77 || tx.Size() != raw.Size() {
		t.Errorf("%+v", tx)
	}
	want := []Transfer{{ws[1].pub, "gold", NewAmount(12)}, {ws[0].pub, NativeAsset, NewAmount(3)}}
	if len(tx.Messages()) != 2 {
		t.Fatalf("messages %+v", tx.Messages())
	}
	for i, m := range tx.Messages() {
		if m.Type != "transfer" || m.Value != any(want[i]) {
			t.Errorf("message %d: %+v, want %+v", i, m, want[i])
		}
	}
}

// TestParseRefuses changes a good payload in one place each time, and signs what comes out.
func TestParseRefuses(t *testing.T) {
	ws := newWallets(2)
	e := newExecutor(t, testGenesis(ws))
	good := fmt.Sprintf(`{"chain_id":"test","public_key":"%s","nonce":0,"messages":[%s],"max_height":0}`,
		ws[0].pub, transferJSON(ws[1].pub, NativeAsset, "5"))
	message := transferJSON(ws[1].pub, NativeAsset, "5")
	key, to := ws[0].pub.String(), ws[1].pub.String()
	for _, c := range []struct {
		name, from, to string
		want           ErrorKind // 0: good
	}{
		{"as it is", "", "", 0},
		{"upper-case hex", key, strings.ToUpper(key), 0},
		{"no max_height", `,"max_height":0`, ``, 0},
		{"spaces", `"nonce":0`, " \"nonce\" :\n0\t", 0},
		{"another chain", `"test"`, `"Test"`, WrongChain},
		{"empty chain", `"test"`, `""`, WrongChain},
		{"chain is a number", `"test"`, `1`, Malformed},
		{"unknown field", `"nonce"`, `"memo":"","nonce"`, Malformed},
		{"duplicate field", `"nonce":0`, `"nonce":0,"nonce":0`, Malformed},
		{"duplicate field, escaped", `"nonce":0`, `"nonce":0,"n\u006fnce":0`, Malformed},
		{"field in other case", `"nonce"`, `"Nonce"`, Malformed},
		{"missing nonce", `"nonce":0,`, ``, Malformed},
		{"missing key", `"public_key":"` + key + `",`, ``, Malformed},
		{"short key", key, key[2:], Malformed},
		{"long key", key, key + "00", Malformed},
		{"key not hex", key, "g" + key[1:], Malformed},
		{"negative nonce", `"nonce":0`, `"nonce":-1`, Malformed},
		{"negative zero", `"nonce":0`, `"nonce":-0`, Malformed},
		{"nonce as float", `"nonce":0`, `"nonce":0.0`, Malformed},
		{"nonce with exponent", `"nonce":0`, `"nonce":1e1`, Malformed},
		{"nonce as text", `"nonce":0`, `"nonce":"0"`, Malformed},
		{"nonce is null", `"nonce":0`, `"nonce":null`, Malformed},
		{"nonce too large", `"nonce":0`, `"nonce":18446744073709551616`, Malformed},
		{"nonce that is never used", `"nonce":0`, `"nonce":18446744073709551615`, Malformed},
		{"max_height is null", `"max_height":0`, `"max_height":null`, Malformed},
		{"max_height negative", `"max_height":0`, `"max_height":-1`, Malformed},
		{"messages is an object", `"messages":[`, `"messages":{`, Malformed},
		{"no messages", message, ``, Malformed},
		{"message is a text", message, `"transfer"`, Malformed},
		{"empty message", message, `{}`, Malformed},
		{"64 messages", message, message + strings.Repeat(","+message, 63), 0},
		{"65 messages", message, message + strings.Repeat(","+message, 64), Malformed},
		{"unknown type", `"transfer"`, `"mint"`, Malformed},
		{"type is null", `"transfer"`, `null`, Malformed},
		{"unknown field in a message", `"asset"`, `"memo":1,"asset"`, Malformed},
		{"duplicate field in a message", `"asset"`, `"amount":"5","asset"`, Malformed},
		{"missing asset", `"asset":"native",`, ``, Malformed},
		{"unknown asset is not for Parse to say", `"native"`, `"?"`, 0},
		{"short to", to, to[1:], Malformed},
		{"amount is a number", `"5"`, `5`, Malformed},
		{"amount with a sign", `"5"`, `"+5"`, Malformed},
		{"amount negative", `"5"`, `"-5"`, Malformed},
		{"amount zero", `"5"`, `"0"`, Malformed},
		{"amount with a leading zero", `"5"`, `"05"`, Malformed},
		{"amount with a space", `"5"`, `"5 "`, Malformed},
		{"amount empty", `"5"`, `""`, Malformed},
		{"amount hex", `"5"`, `"0x5"`, Malformed},
		{"amount fraction", `"5"`, `"5.0"`, Malformed},
		{"amount 2^256", `"5"`, `"` + two256.String() + `"`, Malformed},
		{"amount escaped", `"5"`, `"\u0035"`, 0},
		{"trailing text", `,"max_height":0}`, `} {}`, Malformed},
		{"a list", good, `[` + good + `]`, Malformed},
		{"a text", good, `"x"`, Malformed},
		{"nothing", good, ``, Malformed},
	} {
		payload := strings.Replace(good, c.from, c.to, 1)
		_, err := e.Parse(ws[0].sign(payload))
		if got := kindOf(err); got != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: %v, want kind %d", c.name, err, c.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: the message has more than one line: %q", c.name, err)
		}
	}
}

func TestParseSignature(t *testing.T) {
	ws := newWallets(2)
	e := newExecutor(t, testGenesis(ws))
	good := ws[0].transfer(0, ws[1].pub, "5")
	for i := range 3 { // the second time round, the good one is remembered
		for name, tx := range map[string]*block.Tx{
			"other signer":    {Payload: good.Payload, Signature: block.SignTx(ws[1].key, good.Payload).Signature},
			"no signature":    {Payload: good.Payload},
			"other payload":   {Payload: []byte(strings.Replace(string(good.Payload), `"5"`, `"6"`, 1)), Signature: good.Signature},
			"other signature": {Payload: good.Payload, Signature: ws[0].transfer(1, ws[1].pub, "5").Signature},
		} {
			if _, err := e.Parse(tx); kindOf(err) != BadSignature {
				t.Errorf("%s, round %d: %v", name, i, err)
			}
		}
		if _, err := e.Parse(good); err != nil {
			t.Error(err)
		}
	}
}

func TestParseTooLarge(t *testing.T) {
	ws := newWallets(2)
	e := newExecutor(t, testGenesis(ws))
	text := string(ws[0].transfer(0, ws[1].pub, "5").Payload)
	fill := strings.Repeat(" ", block.MaxPayloadBytes-len(text))
	if _, err := e.Parse(ws[0].sign(text + fill)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := e.Parse(ws[0].sign(text + fill + " ")); kindOf(err) != TooLarge {
		t.Errorf("above the limit: %v", err)
	}
}

// Whatever the first error is, a caller that compares with nil must not be fooled by a typed nil.
func TestParseReturnsAPlainNil(t *testing.T) {
	ws := newWallets(1)
	e := newExecutor(t, testGenesis(ws))
	if tx, err := e.Parse(ws[0].sign("{")); tx != nil || err == nil {
		t.Errorf("%v, %v", tx, err)
	}
}

func FuzzParse(f *testing.F) {
	ws := newWallets(2)
	e, s := newChain(f, testGenesis(ws))
	f.Add(ws[0].transfer(0, ws[1].pub, "5").Payload)
	f.Add(ws[0].messages(1, 2, transferJSON(ws[1].pub, "gold", "1")+","+transferJSON(ws[0].pub, NativeAsset, "2")).Payload)
	f.Add([]byte(`{"chain_id":"test","public_key":"\u0030","nonce":1.5,"messages":[[]]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw := block.SignTx(ws[0].key, payload)
		tx, err := e.Parse(raw)
		if err != nil {
			if kindOf(err) == 0 {
				t.Errorf("not a TxError: %v", err)
			}
			return
		}
		if tx.Sender() != ws[0].pub {
			t.Fatalf("signed by another: %s", tx.Sender())
		}
		for _, m := range tx.Messages() {
			if m.Value.(Transfer).Amount.IsZero() {
				t.Error("nothing is moved")
			}
		}
		b, next, verdicts, err := e.Build(s, BuildSpec{}, []*Tx{tx})
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			if verdicts[0].Err == nil {
				t.Errorf("no reason: %+v", verdicts[0])
			}
			return
		}
		applied, err := newExecutor(t, testGenesis(ws)).Apply(s, b)
		if err != nil || applied.Root() != next.Root() {
			t.Errorf("Apply differs: %v", err)
		}
	})
}
