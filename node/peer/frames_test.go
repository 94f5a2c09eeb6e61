package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
)

func helloBytes(role role, from, to string) []byte {
	f := newFrame(classHello, hello{role: role, from: from, to: to}.encode())
	return frameBytes(f)
}

func frameBytes(f frame) []byte { return slices.Concat(f.head[:f.headLen], f.payload) }

// member connects with node2's key and says nothing yet.
func member(tb testing.TB, n *node) *tls.Conn {
	tb.Helper()
	cert, err := selfCertificate(keyOf(2))
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := stranger(tb, n, func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} })
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

// greeted connects with node2's key up to the welcome.
func greeted(tb testing.TB, n *node, role role) *tls.Conn {
	tb.Helper()
	conn := member(tb, n)
	if _, err := conn.Write(helloBytes(role, "node2", "node1")); err != nil {
		tb.Fatal(err)
	}
	c, _, err := newFrameReader(conn, maxGreetBytes).next()
	if err != nil || c != classWelcome {
		tb.Fatalf("class %d, %v", c, err)
	}
	return conn
}

func TestBadGreetings(t *testing.T) {
	long := strings.Repeat("x", maxIDBytes)
	version2 := hello{role: roleStream, from: "node2", to: "node1"}.encode()
	version2[0] = 2
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"message first", frameBytes(messageFrame(1, []byte("x")))},
		{"welcome first", frameBytes(newFrame(classWelcome, nil))},
		{"empty frame", make([]byte, 4)},
		{"long frame", binary.BigEndian.AppendUint32(nil, maxGreetBytes)},
		{"version", frameBytes(newFrame(classHello, version2))},
		{"no role", helloBytes(0, "node2", "node1")},
		{"unknown role", helloBytes(3, "node2", "node1")},
		{"empty hello", frameBytes(newFrame(classHello, nil))},
		{"short hello", frameBytes(newFrame(classHello, []byte{1, 1, 5, 'n', 'o'}))},
		{"bytes after", frameBytes(newFrame(classHello, append(hello{roleStream, "node2", "node1"}.encode(), 0)))},
		{"from another", helloBytes(roleStream, "node3", "node1")},
		{"to another", helloBytes(roleStream, "node2", "node3")},
		{"long names", helloBytes(roleStream, long, long)},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := cluster(t, 3, nil)[0]
			n.Start()
			refused := n.Stats().Refused
			conn := member(t, n)
			if _, err := conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, conn)
			eventually(t, "the refusal was counted", func() bool { return n.Stats().Refused > refused })
			if n.Stats().Accepts != 0 {
				t.Error("the connection was accepted")
			}
			n.heardNothing(t)
		})
	}
}

func TestForbiddenFramesEndTheConnection(t *testing.T) {
	request := frameBytes(requestFrame(1, 1, nil))
	for _, c := range []struct {
		name  string
		role  role
		bytes []byte
	}{
		{"empty frame", roleStream, make([]byte, 4)},
		{"oversize frame", roleStream, binary.BigEndian.AppendUint32(nil, 9<<20-3)},
		{"huge frame", roleRPC, []byte{0xff, 0xff, 0xff, 0xff}},
		{"class zero", roleStream, frameBytes(newFrame(0, nil))},
		{"unknown class", roleRPC, frameBytes(newFrame(200, []byte("12345678")))},
		{"second hello", roleStream, helloBytes(roleStream, "node2", "node1")},
		{"ping with a body", roleStream, frameBytes(newFrame(classPing, []byte{1}))},
		{"message without kind", roleStream, frameBytes(newFrame(classMessage, nil))},
		{"request on a stream", roleStream, request},
		{"message on rpc", roleRPC, frameBytes(messageFrame(1, []byte("12345678")))},
		{"response on rpc", roleRPC, frameBytes(answerFrame(classResponse, 1, nil))},
		{"request without id", roleRPC, frameBytes(newFrame(classRequest, []byte("1234567")))},
		{"request without kind", roleRPC, frameBytes(newFrame(classRequest, []byte("12345678")))},
		{"two requests with one id", roleRPC, slices.Concat(request, request)},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := cluster(t, 2, nil)[0]
			hold := make(chan struct{})
			n.onRequest = blockUntil(hold)
			n.Start()
			conn := greeted(t, n, c.role)
			if _, err := conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, conn)
			close(hold)
			eventually(t, "the fault was counted", func() bool { return n.Stats().ProtocolErrors == 1 })
			n.heardNothing(t)
		})
	}
}

// A dialler checks its peer's frames as well.
func TestForbiddenAnswersEndTheConnection(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		count func(Stats) uint64
	}{
		{"no welcome", frameBytes(messageFrame(1, nil)), func(s Stats) uint64 { return s.Refused }},
		{"welcome with a body", frameBytes(newFrame(classWelcome, []byte{1})), func(s Stats) uint64 { return s.Refused }},
		{"refused", frameBytes(newFrame(classRefused, []byte("go away"))), func(s Stats) uint64 { return s.Refused }},
		{
			"message from the accepter", slices.Concat(frameBytes(newFrame(classWelcome, nil)), frameBytes(messageFrame(1, nil))),
			func(s Stats) uint64 { return s.ProtocolErrors },
		},
		{
			"answer without id", slices.Concat(frameBytes(newFrame(classWelcome, nil)), frameBytes(newFrame(classResponse, []byte("1")))),
			func(s Stats) uint64 { return s.ProtocolErrors },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			cert, err := selfCertificate(keyOf(2))
			if err != nil {
				t.Fatal(err)
			}
			ln, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS(cert, []string{Proto}, func(ed25519.PublicKey) bool { return true }))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _, _ = newFrameReader(conn, maxGreetBytes).next()
					_, _ = conn.Write(c.bytes)
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			}()
			t.Cleanup(func() { _ = ln.Close(); <-done })
			cfg := testConfig(1)
			cfg.Peers = []Peer{{ID: "node2", Addr: ln.Addr().String(), PublicKey: publicKey(keyOf(2))}}
			n := newNode(t, cfg)
			n.Start()
			eventually(t, "the fault was counted", func() bool { return c.count(n.Stats()) > 1 })
			if len(n.messages) != 0 {
				t.Error("the handler got a message")
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A peer's new connection takes the place of its old one, whose messages come first.
func TestNewConnectionReplacesTheOld(t *testing.T) {
	n := cluster(t, 2, nil)[0]
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	n.onMessage = func(m message) {
		entered <- struct{}{}
		if m.kind == 1 {
			<-leave
		}
	}
	n.Start()
	first := greeted(t, n, roleStream)
	if _, err := first.Write(slices.Concat(frameBytes(messageFrame(1, nil)), frameBytes(messageFrame(2, nil)))); err != nil {
		t.Fatal(err)
	}
	recv(t, entered)
	second := greeted(t, n, roleStream)
	expectEnd(t, first)
	third := greeted(t, n, roleStream)
	expectEnd(t, second)
	before := n.Stats().FramesIn
	if _, err := third.Write(frameBytes(messageFrame(3, nil))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third connection was read", func() bool { return n.Stats().FramesIn > before })
	if len(entered) != 0 {
		t.Fatal("two messages of one peer are handled at once")
	}
	close(leave)
	if m := recv(t, n.messages); m.kind != 1 {
		t.Fatalf("kind %d came first", m.kind)
	}
	if m := recv(t, n.messages); m.kind != 3 {
		t.Fatalf("kind %d came second: the old connection was over", m.kind)
	}
}

// blockUntil is an onRequest that answers nothing before hold is closed.
func blockUntil(hold <-chan struct{}) func(ctx context.Context, from string, kind byte, payload []byte) ([]byte, error) {
	return func(ctx context.Context, _ string, _ byte, _ []byte) ([]byte, error) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil, nil
	}
}
