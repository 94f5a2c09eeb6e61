package node

import (
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// again demands that what was decoded is the same after one more trip, and that a refusal says what it is.
func again[T any](t *testing.T, in []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	v, err := decode(in)
	if err != nil {
		if !errors.Is(err, errMalformed) {
			t.Fatalf("%x: %v", in, err)
		}
		return
	}
	if v2, err := decode(encode(v)); err != nil || !reflect.DeepEqual(v, v2) {
		t.Fatalf("%x: %+v became %+v (%v)", in, v, v2, err)
	}
}

// FuzzWire gives any bytes to each decoder of what nodes send one another besides blocks.
func FuzzWire(f *testing.F) {
	type fetch struct {
		what    replication.Fetch
		cluster core.ClusterID
	}
	f.Add(encodeTxs(nil))
	f.Add(encodeTxs([]*block.Tx{block.SignTx(testKey(1), []byte("{}")), block.SignTx(testKey(2), []byte(`{"a":1}`))}))
	f.Add(encodeVerdict(verdict{
		hash: block.Hash{1}, err: chain.TxError{Kind: chain.BadNonce, Message: "nonce", ExpectedNonce: 7},
		at: replication.Ref{Height: 3, Hash: block.Hash{2}},
	}))
	f.Add(encodeFetch(replication.Fetch{From: 1, To: replication.Ref{Height: 9, Hash: block.Hash{3}}}, core.ClusterID{4}))
	f.Add(encodeHeight(1 << 40))
	f.Add(encodeReport(wire.NodeReport{
		State: wire.StateLeader, Term: 3, Leader: "node1", Height: 9, Tip: 11, LeaseMs: 200, Ready: true, Health: "ok",
		UptimeMs: 5000, API: "http://10.0.0.1:7002",
	}))
	f.Add(encodeAnswer(&api.Error{Status: 422, Code: "rejected", Message: "no"}))
	f.Add([]byte(pinInfo{key: pubKey(testKey(1)), peer: "10.0.0.1:7001", gossip: "10.0.0.1:7000"}.encode()))
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff, wireVersion, 0xc6, 0xff, 0xff, 0xff, 0xff}) // 4 GiB, says the sender
	f.Add([]byte{0x93, wireVersion, 0xc6, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		again(t, b, decodeTxs, encodeTxs)
		again(t, b, decodeVerdict, encodeVerdict)
		again(t, b, decodeHeight, encodeHeight)
		again(t, b, decodeAnswer, encodeAnswer)
		again(t, b, decodeReport, encodeReport)
		again(t, b, func(b []byte) (pinInfo, error) { return decodePin(string(b)) }, func(p pinInfo) []byte { return []byte(p.encode()) })
		again(t, b,
			func(b []byte) (fetch, error) { what, cluster, err := decodeFetch(b); return fetch{what, cluster}, err },
			func(v fetch) []byte { return encodeFetch(v.what, v.cluster) })
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(4<<20+200*len(b)) {
			t.Fatalf("%d bytes made the decoders allocate %d", len(b), grown)
		}
	})
}
