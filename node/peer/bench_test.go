package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// BenchmarkRequest measures the round trip of one request at a time, over TLS on loopback.
func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{100, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			nodes := cluster(b, 2, nil)
			nodes[1].onRequest = func(context.Context, string, byte, []byte) ([]byte, error) { return []byte("ok"), nil }
			startAll(b, nodes)
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := nodes[0].Request(b.Context(), "node2", 1, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRequestParallel measures many requests at once.
func BenchmarkRequestParallel(b *testing.B) {
	nodes := cluster(b, 2, nil)
	nodes[1].onRequest = func(context.Context, string, byte, []byte) ([]byte, error) { return []byte("ok"), nil }
	startAll(b, nodes)
	payload := make([]byte, 100)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := nodes[0].Request(b.Context(), "node2", 1, payload); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// counter is a Handler that only counts messages.
type counter struct {
	*recorder
	n atomic.Int64
}

func (c *counter) HandleMessage(string, byte, []byte) { c.n.Add(1) }

// BenchmarkStream measures one-way messages from Send to HandleMessage.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{100, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			nodes := cluster(b, 2, nil)
			got := &counter{recorder: nodes[1].recorder}
			nodes[1].h = got
			startAll(b, nodes)
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			sent := int64(0)
			for b.Loop() {
				err := nodes[0].Send("node2", 1, payload)
				for errors.Is(err, ErrQueueFull) {
					runtime.Gosched()
					err = nodes[0].Send("node2", 1, payload)
				}
				if err != nil {
					b.Fatal(err)
				}
				sent++
			}
			eventually(b, "all arrived", func() bool { return got.n.Load() == sent })
		})
	}
}
