package load

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// request is a whole HTTP request that posts a signed transaction, which transfers 1 to each of some accounts.
func request(chainID string, key ed25519.PrivateKey, nonce uint64, to ...[]byte) []byte {
	payload := fmt.Appendf(nil, `{"chain_id":%q,"public_key":"%x","nonce":%d,"messages":[`, chainID, public(key), nonce)
	for i, account := range to {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = fmt.Appendf(payload, `{"type":"transfer","to":"%x","asset":"native","amount":"1"}`, account)
	}
	payload = append(payload, `]}`...)
	tx := block.SignTx(key, payload)
	body := fmt.Appendf(nil, `{"payload":%q,"signature":"%s"}`, payload, hex.EncodeToString(tx.Signature[:]))
	head := fmt.Appendf(nil, "POST /v1/transactions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	return append(head, body...)
}

func public(key ed25519.PrivateKey) []byte { return key[ed25519.PrivateKeySize-ed25519.PublicKeySize:] }

// conn is one connection that is kept open.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 2048)}, nil
}

func (c *conn) close() { _ = c.Close() }

var contentLength = []byte("Content-Length: ") //nolint:gochecknoglobals // a constant

// do sends a request and reads the answer, which the nodes' front always gives a content length.
func (c *conn) do(req []byte) (status int, body []byte, err error) {
	if _, err := c.Write(req); err != nil {
		return 0, nil, err
	}
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case status == 0:
			if len(line) < 12 {
				return 0, nil, fmt.Errorf("status line %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, nil, err
			}
		case len(line) == 0:
			if length < 0 {
				return 0, nil, fmt.Errorf("answer %d without a content length", status)
			}
			body = make([]byte, length)
			_, err := io.ReadFull(c.r, body)
			return status, body, err
		case bytes.HasPrefix(line, contentLength):
			if length, err = strconv.Atoi(string(line[len(contentLength):])); err != nil {
				return 0, nil, err
			}
		}
	}
}
