package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// Kinds of one-way messages and requests on the peer link.
const (
	msgChain   = 1 // replication.Message
	msgVerdict = 2 // a refusal, leader -> origin

	reqForward   = 1  // transactions, origin -> leader; answered with one byte each
	reqFetch     = 2  // blocks by height
	reqReadIndex = 3  // a linearizable read's height, follower -> leader
	reqReport    = 4  // what the peer tells of itself, for people
	reqTransfer  = 5  // hand over to the voter named, any node -> leader
	reqMember    = 6  // a change of members, any node -> leader
	reqFinal     = 10 // a final block by height and hash, any node -> any node

	reqCertificate = 11 // the term of a commit certificate, by height and hash
	reqReceipt     = 12 // where a final transaction stands, by its hash
)

var (
	errMalformed = errors.New("malformed")
	// errOtherCluster answers a fetch from a node that may have the same keys and genesis, but not the same cluster: the
	// certificates of one prove nothing in the other (PROTOCOL R3).
	errOtherCluster = errors.New("this is cluster")
)

// notSent reports whether a request certainly did not reach the peer.
func notSent(err error) bool {
	return errors.Is(err, peer.ErrNotConnected) || errors.Is(err, peer.ErrQueueFull) || errors.Is(err, peer.ErrUnknownPeer) ||
		errors.Is(err, peer.ErrClosed) || errors.Is(err, peer.ErrTooLarge)
}

const wireVersion = 1

func encode(values ...any) []byte {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	if err := errors.Join(e.EncodeArrayLen(len(values)+1), e.EncodeUint(wireVersion)); err != nil {
		panic(fmt.Sprintf("node: encode to memory: %v", err))
	}
	for _, v := range values {
		var err error
		switch v := v.(type) {
		case uint64:
			err = e.EncodeUint(v)
		case []byte:
			err = e.EncodeBytes(v)
		default:
			err = fmt.Errorf("type %T", v)
		}
		if err != nil {
			panic(fmt.Sprintf("node: encode to memory: %v", err))
		}
	}
	return buf.Bytes()
}

// reader reads what encode wrote, trusting no length.
type reader struct {
	r   *bytes.Reader
	d   *msgpack.Decoder
	n   int
	err error
}

func newReader(b []byte, minFields int) *reader {
	r := bytes.NewReader(b)
	d := &reader{r: r, d: msgpack.NewDecoder(r)}
	n, err := d.d.DecodeArrayLen()
	if err != nil {
		d.err = fmt.Errorf("%w: fields: %w", errMalformed, err)
		return d
	}
	if n < minFields+1 || n > len(b) {
		d.err = fmt.Errorf("%w: %d fields", errMalformed, n)
		return d
	}
	if v := d.uint(); d.err == nil && v != wireVersion {
		d.err = fmt.Errorf("%w: version %d", errMalformed, v)
	}
	d.n = n - 1
	return d
}

func (d *reader) uint() uint64 {
	if d.err != nil {
		return 0
	}
	v, err := d.d.DecodeUint64()
	if err != nil {
		d.err = fmt.Errorf("%w: number: %w", errMalformed, err)
	}
	return v
}

func (d *reader) bytes(limit int) []byte {
	if d.err != nil {
		return nil
	}
	n, err := d.d.DecodeBytesLen()
	if err != nil {
		d.err = fmt.Errorf("%w: bytes: %w", errMalformed, err)
		return nil
	}
	if n > limit || n > d.r.Len() {
		d.err = fmt.Errorf("%w: %d bytes of at most %d", errMalformed, n, limit)
		return nil
	}
	b := make([]byte, max(n, 0))
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	return b
}

func (d *reader) fixed(into []byte) {
	if b := d.bytes(len(into)); len(b) == len(into) {
		copy(into, b)
	} else if d.err == nil {
		d.err = fmt.Errorf("%w: %d bytes, want %d", errMalformed, len(b), len(into))
	}
}

func (d *reader) end() error {
	if d.err == nil && d.r.Len() > 0 {
		d.err = fmt.Errorf("%w: %d bytes behind the end", errMalformed, d.r.Len())
	}
	return d.err
}

func encodeTxs(txs []*block.Tx) []byte {
	values := make([]any, 0, 2*len(txs))
	for _, t := range txs {
		values = append(values, t.Payload, t.Signature[:])
	}
	return encode(values...)
}

func decodeTxs(b []byte) ([]*block.Tx, error) {
	d := newReader(b, 0)
	if d.err == nil && (d.n%2 != 0 || d.n > 2*forwardBatch) {
		return nil, fmt.Errorf("%w: %d fields", errMalformed, d.n)
	}
	var out []*block.Tx
	for i := 0; i < d.n/2 && d.err == nil; i++ {
		t := &block.Tx{Payload: d.bytes(block.MaxPayloadBytes)}
		d.fixed(t.Signature[:])
		out = append(out, t)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return out, nil
}

// maxReason bounds the text of a refusal that travels.
const maxReason = 4096

func encodeVerdict(v verdict) []byte {
	reason := v.err.Message
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return encode(v.hash[:], uint64(v.err.Kind), []byte(reason), v.err.ExpectedNonce, uint64(v.at.Height), v.at.Hash[:])
}

func decodeVerdict(b []byte) (verdict, error) {
	d := newReader(b, 6)
	var v verdict
	d.fixed(v.hash[:])
	v.err.Kind = chain.ErrorKind(min(d.uint(), 255))
	v.err.Message = string(d.bytes(maxReason))
	v.err.ExpectedNonce = d.uint()
	v.at.Height = block.Height(d.uint())
	d.fixed(v.at.Hash[:])
	if d.err == nil && (v.err.Kind < chain.Malformed || v.err.Kind > chain.TooLarge) {
		return v, fmt.Errorf("%w: kind %d", errMalformed, v.err.Kind)
	}
	return v, d.end()
}

func encodeFetch(f replication.Fetch, cluster core.ClusterID) []byte {
	return encode(uint64(f.From), uint64(f.To.Height), f.To.Hash[:], cluster[:])
}

func decodeFetch(b []byte) (f replication.Fetch, cluster core.ClusterID, err error) {
	d := newReader(b, 4)
	f.From, f.To.Height = block.Height(d.uint()), block.Height(d.uint())
	d.fixed(f.To.Hash[:])
	d.fixed(cluster[:])
	return f, cluster, d.end()
}

func encodeHeight(h block.Height) []byte { return encode(uint64(h)) }

func decodeHeight(b []byte) (block.Height, error) {
	d := newReader(b, 1)
	h := block.Height(d.uint())
	return h, d.end()
}

// encodeAnswer and decodeAnswer carry a leader's refusal to the node that was asked.
func encodeAnswer(e *api.Error) []byte {
	text := e.Message
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return encode(uint64(e.Status), []byte(e.Code), []byte(text))
}

func decodeAnswer(b []byte) (*api.Error, error) {
	d := newReader(b, 3)
	e := &api.Error{Status: int(min(d.uint(), 999)), Code: wire.Code(d.bytes(64)), Message: string(d.bytes(maxReason))}
	if d.err == nil && (e.Status < 400 || e.Status > 599) {
		return nil, fmt.Errorf("%w: status %d", errMalformed, e.Status)
	}
	return e, d.end()
}
