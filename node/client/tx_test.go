package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/client"
)

func TestBuildTransfer(t *testing.T) {
	tx, err := client.BuildTransfer("chain<1>", key(1), 7,
		client.Transfer{To: pub(2), Amount: "5"}, client.Transfer{To: pub(3), Asset: "gold", Amount: "12"})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"chain_id":"chain<1>","public_key":"%x","nonce":7,"messages":[`+
		`{"type":"transfer","to":"%x","asset":"native","amount":"5"},`+
		`{"type":"transfer","to":"%x","asset":"gold","amount":"12"}]}`, pub(1), pub(2), pub(3))
	if string(tx.Payload) != want {
		t.Errorf("got  %s\nwant %s", tx.Payload, want)
	}
	if !tx.Verify(pub(1)) || tx.Verify(pub(2)) {
		t.Error("signature")
	}
}

func TestBuild(t *testing.T) {
	tx, err := client.Build("c", key(1), 0, 9, json.RawMessage("{ \"type\" : \"x\",\n \"v\":\"<\" }"))
	want := fmt.Sprintf(`{"chain_id":"c","public_key":"%x","nonce":0,"messages":[{"type":"x","v":"<"}],"max_height":9}`, pub(1))
	if err != nil || string(tx.Payload) != want {
		t.Errorf("got %v %v, want %s", tx, err, want)
	}
}

func TestBuildRefuses(t *testing.T) {
	good := client.Transfer{To: pub(2), Amount: "5"}
	most := "115792089237316195423570985008687907853269984665640564039457584007913129639935" // 2^256 - 1
	if _, err := client.BuildTransfer("c", key(1), 0, client.Transfer{To: pub(2), Amount: most}); err != nil {
		t.Errorf("largest amount: %v", err)
	}
	for _, amount := range []string{
		"", "0", "00", "05", "-5", "+5", "5.0", " 5", "5 ", "0x5", "1e3", "1_0", "٣", most + "0", strings.TrimSuffix(most, "5") + "6",
	} {
		if _, err := client.BuildTransfer("c", key(1), 0, client.Transfer{To: pub(2), Amount: amount}); !errors.Is(err, client.ErrBadMessage) {
			t.Errorf("amount %q: %v", amount, err)
		}
	}
	for name, build := range map[string]func() error{
		"chain": func() error { _, err := client.BuildTransfer("", key(1), 0, good); return err },
		"key":   func() error { _, err := client.BuildTransfer("c", nil, 0, good); return err },
		"none":  func() error { _, err := client.BuildTransfer("c", key(1), 0); return err },
		"receiver": func() error {
			_, err := client.BuildTransfer("c", key(1), 0, client.Transfer{To: pub(2)[:5], Amount: "5"})
			return err
		},
		"no JSON": func() error { _, err := client.Build("c", key(1), 0, 0, json.RawMessage("{")); return err },
		"UTF-8":   func() error { _, err := client.Build("c", key(1), 0, 0, json.RawMessage("\"\xff\"")); return err },
		"large": func() error {
			_, err := client.Build("c", key(1), 0, 0, json.RawMessage(`"`+strings.Repeat("x", 1<<20)+`"`))
			return err
		},
	} {
		if err := build(); !errors.Is(err, client.ErrBadMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
