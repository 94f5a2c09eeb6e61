package api

import (
	"bytes"
	"strings"
)

// plainTx reads a transaction's request in the form in which clients usually write it: both members once, payload first,
// no white space around them, no \u escapes. What it does not take is not wrong, but for the general decoder to judge.
// The body must be UTF-8.
func plainTx(body []byte) (payload []byte, signature string, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"payload":"`))
	if !ok {
		return nil, "", false
	}
	if payload, rest, ok = plainText(rest); !ok {
		return nil, "", false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"signature":"`)); !ok {
		return nil, "", false
	}
	sig, rest, ok := plainText(rest)
	if !ok || len(rest) == 0 || rest[0] != '}' || len(bytes.TrimLeft(rest[1:], " \t\r\n")) > 0 {
		return nil, "", false
	}
	return payload, string(sig), true
}

// plainText reads a JSON text whose opening quote is behind us, into memory of its own.
func plainText(in []byte) (text, rest []byte, ok bool) {
	end := bytes.IndexByte(in, '"')
	if end < 0 {
		return nil, nil, false
	}
	text = make([]byte, 0, max(end, len(in)-160)) // behind a payload stand a signature and little else
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case c == '"':
			return text, in[i+1:], true
		case c < ' ':
			return nil, nil, false
		case c != '\\':
			text = append(text, c)
		default:
			if i++; i == len(in) {
				return nil, nil, false
			}
			at := strings.IndexByte(`"\/bfnrt`, in[i])
			if at < 0 {
				return nil, nil, false
			}
			text = append(text, "\"\\/\b\f\n\r\t"[at])
		}
	}
	return nil, nil, false
}
