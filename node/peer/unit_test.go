package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestDefaultConfigIsValid(t *testing.T) {
	cfg := testConfig(1)
	cfg.Peers = []Peer{
		{ID: "node1", PublicKey: publicKey(keyOf(1))}, // itself, needs no address
		{ID: "node2", Addr: "[::1]:7001", PublicKey: publicKey(keyOf(2))},
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	good := Peer{ID: "node2", Addr: "host:7001", PublicKey: publicKey(keyOf(2))}
	for want, spoil := range map[string]func(c *Config){
		`ID = "": is empty`:                        func(c *Config) { c.ID = "" },
		`at most 255 are allowed`:                  func(c *Config) { c.ID = strings.Repeat("x", 256) },
		`Listen = "7001": must be host:port`:       func(c *Config) { c.Listen = "7001" },
		`Key: has 3 bytes`:                         func(c *Config) { c.Key = make([]byte, 3) },
		`Peers[1] "node2": ID: appears twice`:      func(c *Config) { c.Peers = []Peer{good, good} },
		`PublicKey: is also that of "node2"`:       func(c *Config) { c.Peers = []Peer{good, {"node3", "h:1", good.PublicKey}} },
		`PublicKey: is also that of "node1"`:       func(c *Config) { c.Peers = []Peer{{"node3", "h:1", publicKey(keyOf(1))}} },
		`PublicKey: is not the key of this node`:   func(c *Config) { c.Peers = []Peer{{"node1", "h:1", good.PublicKey}} },
		`PublicKey: has 0 bytes`:                   func(c *Config) { c.Peers = []Peer{{"node3", "h:1", nil}} },
		`Addr = "host:0": port "0" must be`:        func(c *Config) { c.Peers = []Peer{{"node3", "host:0", good.PublicKey}} },
		`Addr = ":1": has no host`:                 func(c *Config) { c.Peers = []Peer{{"node3", ":1", good.PublicKey}} },
		`Peers[0] "": ID: is empty`:                func(c *Config) { c.Peers = []Peer{{"", "h:1", good.PublicKey}} },
		`ALPN["baton/1"]: is this package's own`:   func(c *Config) { c.ALPN = map[string]func(net.Conn, string){Proto: nil} },
		`ALPN["h2"]: is nil`:                       func(c *Config) { c.ALPN = map[string]func(net.Conn, string){"h2": nil} },
		`ALPN[""]: the name must have`:             func(c *Config) { c.ALPN = map[string]func(net.Conn, string){"": nil} },
		`MaxFrameBytes = 1: must be 4096 to`:       func(c *Config) { c.MaxFrameBytes = 1 },
		`QueueBytes = 9437184: must be at least`:   func(c *Config) { c.QueueBytes = c.MaxFrameBytes },
		`QueueFrames = 0: must be at least 1`:      func(c *Config) { c.QueueFrames = 0 },
		`MaxRequests = 0: must be at least 1`:      func(c *Config) { c.MaxRequests = 0 },
		`MaxHandshakes = 0: must be at least 1`:    func(c *Config) { c.MaxHandshakes = 0 },
		`MaxConns = 65: must be at least 66`:       func(c *Config) { c.MaxConns, c.Peers = 65, []Peer{good} },
		`DialTimeout = 0s: must be positive`:       func(c *Config) { c.DialTimeout = 0 },
		`HandshakeTimeout = -1s: must be positive`: func(c *Config) { c.HandshakeTimeout = -time.Second },
		`IdleTimeout = 0s: must be positive`:       func(c *Config) { c.IdleTimeout = 0 },
		`BackoffMin = 0s: must be positive`:        func(c *Config) { c.BackoffMin = 0 },
		`BackoffMax = 1ms: must be at least Back`:  func(c *Config) { c.BackoffMax = time.Millisecond },
		`Rand: is nil`:                             func(c *Config) { c.Rand = nil },
	} {
		cfg := testConfig(1)
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	err := Config{}.Validate()
	for _, field := range []string{"ID", "Listen", "Key", "MaxFrameBytes", "QueueFrames", "IdleTimeout", "Rand"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the joined error does not name %s: %v", field, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		name string
		rand func(int) int
		want []time.Duration
	}{
		{"least", func(int) int { return 0 }, []time.Duration{10, 20, 40, 80, 160, 320, 500, 500}},
		{"most", func(n int) int { return n - 1 }, []time.Duration{20, 40, 80, 160, 320, 640, 1000, 1000}},
	} {
		b := backoff{least: 20 * time.Millisecond, most: time.Second, rand: c.rand}
		for round := range 2 {
			for i, want := range c.want {
				if got := b.next(); got != want*time.Millisecond {
					t.Errorf("%s, round %d: wait %d is %v, want %v", c.name, round, i, got, want*time.Millisecond)
				}
			}
			b.reset()
		}
	}
}

func TestQueueBoundsAndOrder(t *testing.T) {
	q := newQueue(3*(frameCostBytes+lengthBytes+2)+10, 3)
	for i := range 3 {
		if err := q.push(messageFrame(byte(i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.push(messageFrame(9, nil)); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("frame bound: %v", err)
	}
	batch := q.take(nil)
	if len(batch) != 3 || batch[0].head[lengthBytes+1] != 0 || batch[2].head[lengthBytes+1] != 2 {
		t.Fatalf("batch %v", batch)
	}
	if err := q.push(messageFrame(9, nil)); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("a batch in the writer's hands must count: %v", err)
	}
	q.release(&batch[0])
	if err := q.push(messageFrame(9, make([]byte, 11))); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("byte bound: %v", err)
	}
	if err := q.push(messageFrame(9, make([]byte, 10))); err != nil {
		t.Fatal(err)
	}

	// Waiting for room, in vain and not.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.pushWait(ctx, messageFrame(1, nil)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	q.space = nil // nobody waits on it any more; it shows below that somebody does again
	pushed := make(chan error)
	go func() { pushed <- q.pushWait(t.Context(), messageFrame(10, nil)) }()
	eventually(t, "the producer waits", func() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.space != nil })
	q.release(&batch[1])
	if err := recv(t, pushed); err != nil {
		t.Fatal(err)
	}
	go func() { pushed <- q.pushWait(t.Context(), messageFrame(11, nil)) }()
	eventually(t, "the producer waits", func() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.space != nil })
	if lost := q.close(); lost != 3 {
		t.Errorf("%d frames lost, want 3", lost)
	}
	if err := recv(t, pushed); !errors.Is(err, ErrNotConnected) {
		t.Errorf("a waiting producer got %v", err)
	}
	if err := q.push(messageFrame(1, nil)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("push after close: %v", err)
	}
	if q.held() != 0 {
		t.Errorf("%d bytes held after close", q.held())
	}
}

func TestQuiet(t *testing.T) {
	q := quiet{every: time.Second}
	start := time.Now()
	for i, c := range []struct {
		after  time.Duration
		unsaid uint64
		ok     bool
	}{{0, 0, true}, {1, 0, false}, {time.Second - 1, 0, false}, {time.Second, 2, true}, {time.Second + 1, 0, false}} {
		if unsaid, ok := q.speak(start.Add(c.after)); ok != c.ok || unsaid != c.unsaid {
			t.Errorf("line %d: %d, %v", i, unsaid, ok)
		}
	}
}

func TestFrameReader(t *testing.T) {
	big := bytes.Repeat([]byte("abcdefg"), 100_000)
	var stream bytes.Buffer
	frames := []frame{
		newFrame(classPing, nil), messageFrame(3, nil), messageFrame(4, []byte("x")), messageFrame(5, big),
		requestFrame(1<<40, 6, []byte("ask")), answerFrame(classResponse, 1<<40, []byte("answer")),
	}
	for i := range frames {
		if err := frames[i].writeTo(&stream); err != nil {
			t.Fatal(err)
		}
	}
	whole := stream.Bytes()
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(whole), "halves": iotest.HalfReader(bytes.NewReader(whole)),
		"late errors": iotest.DataErrReader(bytes.NewReader(whole)),
	} {
		fr := newFrameReader(r, 1<<20)
		for i := range frames {
			want := frameBytes(frames[i])[lengthBytes:]
			c, body, err := fr.next()
			if err != nil || byte(c) != want[0] || !bytes.Equal(body, want[1:]) {
				t.Fatalf("%s: frame %d: class %d, %d bytes, %v", name, i, c, len(body), err)
			}
		}
		if _, _, err := fr.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
	for cut := 1; cut < 30; cut++ {
		fr := newFrameReader(bytes.NewReader(whole[:cut]), 1<<20)
		var err error
		for err == nil {
			_, _, err = fr.next()
		}
		if boundary := cut == 5 || cut == 11 || cut == 18; errors.Is(err, io.EOF) != boundary ||
			!boundary && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func TestFrameLengthIsCheckedExactly(t *testing.T) {
	const limit = 5000
	exact := messageFrame(1, make([]byte, limit-lengthBytes-2))
	if _, body, err := newFrameReader(bytes.NewReader(frameBytes(exact)), limit).next(); err != nil || len(body) != limit-5 {
		t.Errorf("the longest frame: %d bytes, %v", len(body), err)
	}
	longer := messageFrame(1, make([]byte, limit-lengthBytes-1))
	_, _, err := newFrameReader(bytes.NewReader(frameBytes(longer)), limit).next()
	if _, ok := errors.AsType[protocolError](err); !ok {
		t.Errorf("a frame one byte too long: %v", err)
	}
}

// A declared length alone costs the reader next to nothing.
func TestDeclaredLengthAllocatesLittle(t *testing.T) {
	head := binary.BigEndian.AppendUint32(nil, 9<<20-4)
	head = append(head, byte(classMessage))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, _, err := newFrameReader(bytes.NewReader(head), 9<<20).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 10; got > 256<<10 {
		t.Errorf("%d bytes allocated for a declared length", got)
	}
}

func TestCertificateNeverExpires(t *testing.T) {
	cert, err := selfCertificate(keyOf(1))
	if err != nil {
		t.Fatal(err)
	}
	if key := cert.Leaf; key != nil && !publicKey(keyOf(1)).Equal(key.PublicKey) {
		t.Error("the certificate has another key")
	}
	for _, clock := range []time.Time{{}, time.Unix(0, 0), time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		server := serverTLS(cert, []string{Proto}, func(k ed25519.PublicKey) bool { return k.Equal(publicKey(keyOf(2))) })
		other, err := selfCertificate(keyOf(2))
		if err != nil {
			t.Fatal(err)
		}
		client := clientTLS(other, Proto, publicKey(keyOf(1)))
		now := func() time.Time { return clock }
		server.Time, client.Time = now, now
		if err := handshake(t, server, client); err != nil {
			t.Errorf("clock %v: %v", clock, err)
		}
	}
}

// FuzzFrames checks that whatever is read is exactly what stood there, and never more memory than was sent.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 4})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add(frameBytes(requestFrame(7, 1, []byte("x"))))
	f.Add(append(helloBytes(roleRPC, "a", "b"), frameBytes(messageFrame(1, []byte("payload")))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		r := newFrameReader(bytes.NewReader(data), limit)
		rest := data
		for {
			c, body, err := r.next()
			if err != nil {
				if errors.Is(err, io.EOF) && len(rest) != 0 {
					t.Fatalf("%d bytes were not read", len(rest))
				}
				return
			}
			if len(body)+lengthBytes+1 > limit || cap(body) > max(readChunkBytes, 2*len(body)) {
				t.Fatalf("body of %d bytes, capacity %d", len(body), cap(body))
			}
			again := frameBytes(newFrame(c, body))
			if !bytes.HasPrefix(rest, again) {
				t.Fatalf("read %x from %x", again, rest)
			}
			rest = rest[len(again):]
			if id, tail, err := cutID(body); err == nil {
				if again := frameBytes(answerFrame(c, id, tail)); !bytes.Equal(again[lengthBytes+1:], body) {
					t.Fatalf("id %d: %x from %x", id, again, body)
				}
			}
			if kind, payload, err := cutKind(body); err == nil {
				if again := append([]byte{kind}, payload...); !bytes.Equal(again, body) {
					t.Fatalf("kind %d: %x from %x", kind, again, body)
				}
			}
		}
	})
}

// FuzzHello checks that a hello has one encoding.
func FuzzHello(f *testing.F) {
	f.Add(hello{roleStream, "node1", "node2"}.encode())
	f.Add(hello{roleRPC, "", strings.Repeat("x", maxIDBytes)}.encode())
	f.Add([]byte{1, 1, 200})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHello(data)
		if err != nil {
			return
		}
		if again := h.encode(); !bytes.Equal(again, data) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", data, h, again)
		}
	})
}

// Random frames through the writer's buffering arrive as they were.
func TestFramesThroughABuffer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var stream bytes.Buffer
	w := bufio.NewWriterSize(&stream, 1000)
	var sent []frame
	for range 500 {
		payload := make([]byte, random.IntN(3000))
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		f := requestFrame(random.Uint64(), byte(random.Uint32()), payload)
		sent = append(sent, f)
		if err := f.writeTo(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := newFrameReader(&stream, 1<<20)
	for i := range sent {
		c, body, err := r.next()
		if err != nil || c != classRequest || !bytes.Equal(body, frameBytes(sent[i])[lengthBytes+1:]) {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
}
