package peer

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// tcpPair returns both ends of a TCP connection.
func tcpPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's port
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()                              //nolint:errcheck // it has served
	a, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // to the listener above
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// In a hurry nothing waits, however much the other side leaves unread, and nothing is lost or out of order.
func TestOutletInAHurry(t *testing.T) {
	a, b := tcpPair(t)
	o := newOutlet(a)
	var want bytes.Buffer
	write := func(n int, hurry bool) {
		t.Helper()
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(want.Len() + i)
		}
		want.Write(p)
		o.hurry.Store(hurry)
		if got, err := o.Write(p); got != n || err != nil {
			t.Fatalf("%d of %d bytes: %v", got, n, err)
		}
	}
	write(10, false)
	write(10, true)
	if o.left() {
		t.Error("an empty socket did not take 10 bytes")
	}
	for range 64 { // more than any socket's buffers take
		write(1<<20, true)
	}
	if !o.left() {
		t.Fatal("64 MiB went into the socket")
	}
	write(3, true)
	const last = 7
	total := want.Len() + last // here: the buffer is not the reader's
	got := make(chan []byte, 1)
	go func() {
		p := make([]byte, total)
		n, err := io.ReadFull(b, p)
		if err != nil {
			t.Errorf("%d bytes, then %v", n, err)
		}
		got <- p
	}()
	if err := o.flush(); err != nil || o.left() {
		t.Fatalf("flush: %v, left %v", err, o.left())
	}
	write(last, false)
	if p := <-got; !bytes.Equal(p, want.Bytes()) {
		t.Error("what arrived is not what was written")
	}
}

func TestOutletOfALostConnection(t *testing.T) {
	a, _ := tcpPair(t)
	o := newOutlet(a)
	o.hurry.Store(true)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("x")); err == nil {
		t.Error("no error")
	}
}
