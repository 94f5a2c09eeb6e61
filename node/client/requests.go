package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

const (
	smallAnswerBytes = 1 << 20
	blockAnswerBytes = 128 << 20
	stateAnswerBytes = 8 << 20 // a value of a megabyte, twice, and its node, in hex
)

// Submit sends tx until it is final, which is its receipt, or refused for good, which is an [*APIError]: malformed,
// wrong_chain, bad_signature, bad_nonce, too_large or rejected. When ctx ends first the error is [ErrUnavailable] or
// [ErrUnknownOutcome]; a refusal may be joined to [ErrEarlierAttempt]. A payload that is not UTF-8 cannot travel and is
// [ErrBadMessage]. The same transaction may be submitted again at any time and has one receipt.
func (c *Client) Submit(ctx context.Context, tx *block.Tx) (Receipt, error) {
	return submit(ctx, c, tx, "", func(r Receipt) block.Hash { return r.Hash })
}

// SubmitAsync hands tx to the first node that accepts it and returns its hash. Nothing durable is promised: the receipt
// appears once the transaction is final ([Client.Receipt]). Errors as of [Client.Submit].
func (c *Client) SubmitAsync(ctx context.Context, tx *block.Tx) (block.Hash, error) {
	accepted, err := submit(ctx, c, tx, "?wait=accepted", func(a wire.Accepted) block.Hash { return a.Hash })
	return accepted.Hash, err
}

// submit posts tx to any node. hashOf returns the transaction that an answer is about.
func submit[T any](ctx context.Context, c *Client, tx *block.Tx, query string, hashOf func(T) block.Hash) (T, error) {
	var zero T
	want := tx.Hash()
	if !utf8.Valid(tx.Payload) {
		return zero, fmt.Errorf("submit %s: the payload is not UTF-8: %w", want, ErrBadMessage)
	}
	body, err := encode(wire.NewTxRequest(tx))
	if err != nil {
		return zero, fmt.Errorf("submit %s: %w", want, err)
	}
	value, err := anyNode(ctx, c, false, func(ctx context.Context, base string) (T, error) {
		var value T
		err := c.do(ctx, http.MethodPost, base+"/v1/transactions"+query, body, smallAnswerBytes, &value)
		if err == nil && hashOf(value) != want {
			err = fmt.Errorf("the answer is about transaction %s", hashOf(value))
		}
		return value, err
	})
	if err != nil {
		return zero, fmt.Errorf("submit %s: %w", want, err)
	}
	return value, nil
}

// Receipt returns the receipt of a final transaction. While the asked node knows of none the error is an [*APIError] of
// code not_found; that is no promise that there never will be one.
func (c *Client) Receipt(ctx context.Context, hash block.Hash) (Receipt, error) {
	return get[Receipt](ctx, c, "/v1/transactions/"+hash.String(), smallAnswerBytes)
}

// Account reads an account, linearizably: everything that was answered final before the call is in it.
func (c *Client) Account(ctx context.Context, pub ed25519.PublicKey) (Account, error) {
	return get[Account](ctx, c, "/v1/accounts/"+hex.EncodeToString(pub), smallAnswerBytes)
}

// AccountLocal reads an account as the asked node has it, which may be old; it needs no leader.
func (c *Client) AccountLocal(ctx context.Context, pub ed25519.PublicKey) (Account, error) {
	return get[Account](ctx, c, "/v1/accounts/"+hex.EncodeToString(pub)+"?consistency=local", smallAnswerBytes)
}

// Block returns the final block of height h, an [*APIError] of code not_found while the asked node has none.
func (c *Client) Block(ctx context.Context, h block.Height) (*Block, error) {
	return get[*Block](ctx, c, "/v1/blocks/"+formatHeight(h), blockAnswerBytes)
}

// LatestBlock returns the newest final block of the asked node.
func (c *Client) LatestBlock(ctx context.Context) (*Block, error) {
	return get[*Block](ctx, c, "/v1/blocks/latest", blockAnswerBytes)
}

// Blocks returns up to limit final blocks from height from on, ascending. There may be fewer: at most 1000, or less when
// they are large. None at all means that the asked node has none from there on.
func (c *Client) Blocks(ctx context.Context, from block.Height, limit int) ([]*Block, error) {
	path := "/v1/blocks?from=" + formatHeight(from) + "&limit=" + strconv.Itoa(limit)
	blocks, err := get[wire.Blocks](ctx, c, path, blockAnswerBytes)
	return blocks.Blocks, err
}

// Status returns the status of whichever node answers.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", smallAnswerBytes)
}

// StatusOf returns the status of the node at url, one of [Client.URLs], asked once.
func (c *Client) StatusOf(ctx context.Context, url string) (Status, error) {
	var status Status
	err := c.do(ctx, http.MethodGet, strings.TrimRight(url, "/")+"/v1/status", nil, smallAnswerBytes, &status)
	if err != nil {
		return Status{}, fmt.Errorf("status of %s: %w", url, err)
	}
	return status, nil
}

// VerifyBlock recomputes b's hash from all that its JSON shows and checks its signature under the processor's public key
// pub, which must come from a trusted place, such as the genesis file. The error is one of wire's: [wire.ErrBlockHash],
// [wire.ErrBlockSignature], [wire.ErrUnsigned] (height 0), [wire.ErrBadBlock].
func VerifyBlock(b *Block, pub ed25519.PublicKey) error { return b.Verify(pub) }

// get reads path from any node.
func get[T any](ctx context.Context, c *Client, path string, maxBytes int64) (T, error) {
	value, err := anyNode(ctx, c, true, func(ctx context.Context, base string) (T, error) {
		var value T
		err := c.do(ctx, http.MethodGet, base+path, nil, maxBytes, &value)
		return value, err
	})
	if err != nil {
		var zero T
		return zero, fmt.Errorf("get %s: %w", path, err)
	}
	return value, nil
}

// do makes one request of one node and reads the answer's JSON into out. An answer that is not a success is an
// [*APIError], one without a code when it did not come from a node. Whatever never had a connection is errNotSent.
func (c *Client) do(ctx context.Context, method, url string, body []byte, maxBytes int64, out any) error {
	resp, err := c.request(ctx, method, url, body, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // all that is needed of it was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if int64(len(data)) > maxBytes {
		return fmt.Errorf("answer is larger than %d bytes", maxBytes)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return apiError(resp, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// request sends one request and returns the answer with its body still to be read.
func (c *Client) request(ctx context.Context, method, url string, body []byte, header http.Header) (*http.Response, error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	maps.Copy(req.Header, header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.opts.HTTP.Do(req)
	if err != nil && !connected.Load() {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return resp, err
}

// apiError reads an answer that is not a success.
func apiError(resp *http.Response, data []byte) *APIError {
	e := &APIError{Status: resp.StatusCode}
	var body wire.ErrorBody
	if err := json.Unmarshal(data, &body); err == nil {
		e.Code, e.Message, e.ExpectedNonce = body.Error.Code, body.Error.Message, body.Error.ExpectedNonce
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// IsCode reports whether err is, or wraps, an answer of the given code.
func IsCode(err error, code wire.Code) bool {
	var answer *APIError
	return errors.As(err, &answer) && answer.Code == code
}

// encode returns v's JSON with texts left readable.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func formatHeight(h block.Height) string { return strconv.FormatUint(uint64(h), 10) }
