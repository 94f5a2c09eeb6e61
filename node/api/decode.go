package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/baton-ha/baton/blockstore/block"
)

// decodeTx reads a transaction's request: one JSON object with the texts "payload" and "signature", each once, nothing
// else. encoding/json's own struct decoding would take repeated and differently-cased names, and would replace bytes
// that are not UTF-8, which changes what was signed. Every error is for the client.
func decodeTx(body []byte) (*block.Tx, error) {
	if !utf8.Valid(body) {
		return nil, Malformed("the request is not UTF-8")
	}
	payload, signature, plain := plainTx(body)
	if !plain {
		fields, err := decodeTexts(body, "payload", "signature")
		if err != nil {
			return nil, err
		}
		if fields["payload"] == nil || fields["signature"] == nil {
			return nil, Malformed(`the request must be {"payload":"…","signature":"…"}`)
		}
		payload, signature = []byte(*fields["payload"]), *fields["signature"]
	}
	if len(payload) == 0 {
		return nil, Malformed("payload: empty")
	}
	if len(payload) > block.MaxPayloadBytes {
		return nil, TooLarge(block.MaxPayloadBytes)
	}
	sig, err := block.ParseSignature(signature)
	if err != nil {
		return nil, Malformed(fmt.Sprintf("signature: must be %d hex digits", 2*block.SignatureBytes))
	}
	return &block.Tx{Payload: payload, Signature: sig}, nil
}

// decodeTexts reads a JSON object whose members are all texts and all among names, none twice. A member that is not
// there is nil in the result.
func decodeTexts(body []byte, names ...string) (map[string]*string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	token, err := dec.Token()
	if err != nil || token != json.Delim('{') {
		return nil, Malformed("the request is not a JSON object")
	}
	fields := make(map[string]*string, len(names))
	for _, name := range names {
		fields[name] = nil
	}
	for dec.More() {
		token, err = dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		name, _ := token.(string) // the decoder returns nothing else as a member's name
		seen, known := fields[name]
		switch {
		case !known:
			return nil, Malformed("unknown field " + quote(name))
		case seen != nil:
			return nil, Malformed(name + ": given twice")
		}
		token, err = dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		value, ok := token.(string)
		if !ok {
			return nil, Malformed(name + ": must be a text")
		}
		fields[name] = &value
	}
	if _, err = dec.Token(); err != nil { // the closing brace
		return nil, notJSON(err)
	}
	if _, err = dec.Token(); !errors.Is(err, io.EOF) {
		return nil, Malformed("something follows the request's JSON object")
	}
	return fields, nil
}

func notJSON(err error) *Error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Malformed("the request's JSON ends too early")
	}
	return Malformed("the request is not JSON: " + err.Error())
}

// parseHeight reads a height in plain decimal digits.
func parseHeight(name, text string) (block.Height, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, Malformed(name + ": " + quote(text) + " is not a height")
	}
	return block.Height(n), nil
}

// quote shows a text from outside, shortened and escaped.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
	}
	return strconv.Quote(text)
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
