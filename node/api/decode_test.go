package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/baton-ha/baton/node/api/wire"
)

// FuzzDecodeTx holds the strict decoder against encoding/json: what it accepts, that accepts with the same result, and
// what comes out, sent again, comes out the same.
func FuzzDecodeTx(f *testing.F) {
	sig := strings.Repeat("ab", 64)
	for _, seed := range []string{
		`{"payload":"{\"a\":1}","signature":"` + sig + `"}`,
		` { "signature" : "` + sig + `" , "payload" : "\u00e9\n<" } `,
		`{"payload":"x","payload":"y","signature":"` + sig + `"}`,
		`{"payload":"\"\\\/\b\f\n\r\té","signature":"` + sig + "\"}\r\n",
		`{"payload":"\u00e9","signature":"` + sig + `"}`, `{"payload":"x","signature":"` + sig + `"}{`,
		"{\"payload\":\"\n\",\"signature\":\"" + sig + `"}`, `{"payload":"\x","signature":"` + sig + `"}`,
		`{"payload":"\ud800","signature":"` + sig + `"}`,
		`{}`, `[`, `{"a`, "\xff", `{"payload":[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		tx, err := decodeTx(body)
		if err != nil {
			var answer *Error
			if !errors.As(err, &answer) || (answer.Status != 400 && answer.Status != 413) {
				t.Fatalf("error is not for the client: %v", err)
			}
			if !utf8.ValidString(answer.Message) || len(answer.Message) > 500 {
				t.Fatalf("message of %d bytes: %q", len(answer.Message), answer.Message)
			}
			return
		}
		if payload, signature, plain := plainTx(body); plain {
			general, err := decodeTexts(body, "payload", "signature")
			if err != nil || *general["payload"] != string(payload) || *general["signature"] != signature {
				t.Fatalf("the short way reads %q %q, the long one %v, %v", payload, signature, general, err)
			}
		}
		var naive map[string]string
		if err := json.Unmarshal(body, &naive); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		if len(naive) != 2 || naive["payload"] != string(tx.Payload) || !strings.EqualFold(naive["signature"], tx.Signature.String()) {
			t.Fatalf("read %q %s of %q", tx.Payload, tx.Signature, body)
		}
		again, err := json.Marshal(wire.NewTxRequest(tx))
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeTx(again)
		if err != nil || back.Hash() != tx.Hash() || back.Signature != tx.Signature {
			t.Fatalf("sent again: %v", err)
		}
	})
}

// What clients usually send is read the short way.
func TestPlainTx(t *testing.T) {
	body := `{"payload":"{\"amount\":\"5\",\"é\":\"a\\\\b\\n\"}","signature":"ab"}`
	payload, signature, plain := plainTx([]byte(body + "\n"))
	if !plain || string(payload) != `{"amount":"5","é":"a\\b\n"}` || signature != "ab" {
		t.Errorf("%q %q %v", payload, signature, plain)
	}
	for cut := range body {
		if payload, signature, plain := plainTx([]byte(body[:cut])); plain {
			t.Errorf("%q: %q %q", body[:cut], payload, signature)
		}
	}
}
