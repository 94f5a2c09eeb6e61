package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// stranger is a TLS client under the test's control.
func stranger(tb testing.TB, n *node, tune func(*tls.Config)) (*tls.Conn, error) {
	tb.Helper()
	cert, err := selfCertificate(keyOf(77))
	if err != nil {
		tb.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, NextProtos: []string{Proto}}
	tune(cfg)
	raw := dialRaw(tb, n)
	conn := tls.Client(raw, cfg)
	return conn, conn.HandshakeContext(ctxFor(tb))
}

func dialRaw(tb testing.TB, n *node) net.Conn {
	tb.Helper()
	var dialer net.Dialer
	raw, err := dialer.DialContext(tb.Context(), "tcp", n.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = raw.Close() })
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return raw
}

// expectEnd reads until the other side ends the connection.
func expectEnd(tb testing.TB, conn net.Conn) {
	tb.Helper()
	_, err := io.Copy(io.Discard, conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		tb.Fatal("the connection was not ended")
	}
}

func (n *node) heardNothing(tb testing.TB) {
	tb.Helper()
	if len(n.messages)+len(n.up)+len(n.down) != 0 {
		tb.Error("the handler was called")
	}
}

func ecdsaCertificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestStrangersAreRefused(t *testing.T) {
	member, err := selfCertificate(keyOf(2))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		tune func(*tls.Config)
	}{
		{"unknown key", func(*tls.Config) {}},
		{"no key", func(c *tls.Config) { c.Certificates = nil }},
		{"a member's certificate without its key", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: member.Certificate, PrivateKey: keyOf(77)}}
		}},
		{"another kind of key", func(c *tls.Config) { c.Certificates = []tls.Certificate{ecdsaCertificate(t)} }},
		{"TLS 1.2 with a member's key", func(c *tls.Config) {
			c.Certificates, c.MaxVersion = []tls.Certificate{member}, tls.VersionTLS12
		}},
		{"no ALPN with a member's key", func(c *tls.Config) {
			c.Certificates, c.NextProtos = []tls.Certificate{member}, nil
		}},
		{"unknown ALPN with a member's key", func(c *tls.Config) {
			c.Certificates, c.NextProtos = []tls.Certificate{member}, []string{"h2", "baton/2"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := cluster(t, 2, nil)
			n := nodes[0]
			n.Start()
			refused := n.Stats().Refused
			conn, err := stranger(t, n, c.tune)
			if err == nil {
				_, _ = conn.Write(helloBytes(roleStream, "node2", "node1"))
				expectEnd(t, conn)
			}
			eventually(t, "the refusal was counted", func() bool { return n.Stats().Refused > refused })
			eventually(t, "the connection was given up", func() bool { return n.Stats().Conns == 0 })
			if n.Stats().Accepts != 0 {
				t.Error("the stranger was accepted")
			}
			n.heardNothing(t)
		})
	}
}

// The same client as above with a member's key gets in: the table above refuses for the reasons that it names.
func TestTheStrangerWithAMembersKeyGetsIn(t *testing.T) {
	n := cluster(t, 2, nil)[0]
	n.Start()
	conn := greeted(t, n, roleStream)
	msg := messageFrame(5, []byte("hi"))
	if err := msg.writeTo(conn); err != nil {
		t.Fatal(err)
	}
	if m := recv(t, n.messages); m.from != "node2" || m.kind != 5 || string(m.payload) != "hi" {
		t.Fatalf("got %v", m)
	}
}

func TestGarbageIsRefusedAndLoggedOnce(t *testing.T) {
	const tries = 30
	nodes := cluster(t, 2, nil)
	n := nodes[0]
	n.Start()
	garbage := make([]byte, 1<<16)
	if _, err := rand.Read(garbage); err != nil {
		t.Fatal(err)
	}
	for i := range tries {
		raw := dialRaw(t, n)
		switch i % 3 {
		case 0:
			_, _ = raw.Write(garbage)
		case 1:
			_, _ = raw.Write([]byte("GET / HTTP/1.1\r\nHost: node1\r\n\r\n"))
		default:
			_ = raw.(*net.TCPConn).CloseWrite()
		}
		expectEnd(t, raw)
	}
	eventually(t, "all were counted", func() bool { return n.Stats().Refused >= tries && n.Stats().Conns == 0 })
	if got := n.logs.count("peer connection refused"); got != 1 {
		t.Errorf("%d log lines, want 1", got)
	}
	n.heardNothing(t)

	nodes[1].Start() // and peers still get in
	recv(t, n.up)
	recv(t, nodes[1].up)
}

func TestWrongKeyIsRefusedBothWays(t *testing.T) {
	nodes := cluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	wrong := b.asPeer()
	wrong.PublicKey = publicKey(keyOf(99))
	if err := a.SetPeers([]Peer{wrong}); err != nil { // b has a's right key
		t.Fatal(err)
	}
	a.Start()
	b.Start()
	// Each count grows from both sides' attempts: a refuses b as a server and as a client.
	eventually(t, "both sides saw refusals", func() bool { return a.Stats().Refused > 5 && b.Stats().Refused > 5 })
	for _, n := range nodes {
		n.heardNothing(t)
		if s := n.Stats(); s.Connects+s.Accepts != 0 || len(n.Connected()) != 0 {
			t.Errorf("%s: %+v", n.cfg.ID, s)
		}
	}
	if err := a.SetPeers([]Peer{b.asPeer()}); err != nil {
		t.Fatal(err)
	}
	recv(t, a.up)
	recv(t, b.up)
}

// Two configurations that name one key differently are told so.
func TestIDsMustAgree(t *testing.T) {
	nodes := cluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	renamed := b.asPeer()
	renamed.ID = "bob"
	if err := a.SetPeers([]Peer{renamed}); err != nil {
		t.Fatal(err)
	}
	a.Start()
	b.Start()
	eventually(t, "both sides log why", func() bool {
		return a.logs.count(`calls this node \"bob\", but this is \"node2\"`) >= 1 &&
			b.logs.count(`calls itself \"node2\", but its key is that of \"bob\"`) >= 1
	})
	a.heardNothing(t)
	b.heardNothing(t)
}

func TestSilentStrangersAreDropped(t *testing.T) {
	nodes := cluster(t, 2, func(_ int, cfg *Config) { cfg.HandshakeTimeout = time.Second })
	n := nodes[0]
	n.Start()
	expectEnd(t, dialRaw(t, n)) // says nothing at all

	member, err := selfCertificate(keyOf(2))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := stranger(t, n, func(c *tls.Config) { c.Certificates = []tls.Certificate{member} })
	if err != nil {
		t.Fatal(err)
	}
	expectEnd(t, conn) // a member that never says hello
	n.heardNothing(t)
}

// Strangers that fill every place cannot keep peers out: the oldest of them goes.
func TestStrangersCannotKeepPeersOut(t *testing.T) {
	nodes := cluster(t, 2, func(_ int, cfg *Config) {
		cfg.MaxHandshakes, cfg.MaxConns = 3, 7
		cfg.HandshakeTimeout = time.Hour
	})
	n := nodes[0]
	n.Start()
	var strangers []net.Conn
	for range 4 {
		strangers = append(strangers, dialRaw(t, n))
	}
	expectEnd(t, strangers[0])
	if got := n.Stats().Conns; got > 3 {
		t.Errorf("%d connections are open", got)
	}
	nodes[1].Start()
	recv(t, n.up)
	recv(t, nodes[1].up)
	// The peer's two connections cost two strangers their places, not more.
	if err := strangers[3].SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := strangers[3].Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the newest stranger was dropped: %v", err)
	}
}

func TestOtherProtocols(t *testing.T) {
	served := make(chan string, 10)
	nodes := cluster(t, 2, func(i int, cfg *Config) {
		cfg.HandshakeTimeout = time.Second
		if i == 0 {
			cfg.ALPN = map[string]func(net.Conn, string){"echo/1": func(conn net.Conn, id string) {
				served <- id
				_, _ = io.Copy(conn, conn)
			}}
		}
	})
	startAll(t, nodes)
	a, b := nodes[0], nodes[1]
	conn, err := b.Dial(ctxFor(t), "node1", "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if id := recv(t, served); id != "node2" {
		t.Fatalf("served %s", id)
	}
	if _, err := b.Dial(ctxFor(t), "node1", "echo/2"); err == nil {
		t.Error("a protocol that nobody serves was dialled")
	}
	if _, err := b.Dial(ctxFor(t), "node9", "echo/1"); !errors.Is(err, ErrUnknownPeer) {
		t.Error(err)
	}
	s, err := stranger(t, a, func(c *tls.Config) { c.NextProtos = []string{"echo/1"} })
	if err == nil {
		expectEnd(t, s)
	}
	if err := a.Close(); err != nil { // ends the connection and waits for the function
		t.Fatal(err)
	}
	expectEnd(t, conn)
	_ = conn.Close()
	if len(served) != 0 {
		t.Error("a stranger was served")
	}
}

// handshake runs a server and a client against each other and returns the first error of either.
func handshake(tb testing.TB, server, client *tls.Config) error {
	tb.Helper()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	served := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).HandshakeContext(ctxFor(tb))
		if err != nil {
			_ = a.Close()
		}
		served <- err
	}()
	err := tls.Client(b, client).HandshakeContext(ctxFor(tb))
	return errors.Join(err, <-served)
}
