package nettest

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every line and every packet with itself, on one port.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's port
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String()) //nolint:noctx // a test's port
	if err != nil {
		t.Skip("port is taken for UDP")
	}
	t.Cleanup(func() { _, _ = l.Close(), p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close() //nolint:errcheck // a test's connection
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if _, err := c.Write([]byte(line)); err != nil {
						return
					}
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 100)
		for {
			k, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:k], from)
		}
	}()
	return l.Addr().String()
}

// ask sends a line and waits for its echo.
func ask(t *testing.T, c net.Conn, limit time.Duration) error {
	t.Helper()
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return err
	}
	return hear(c, limit)
}

func hear(c net.Conn, limit time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	_, err := c.Read(make([]byte, 100))
	return err
}

const (
	long  = 30 * time.Second
	short = 100 * time.Millisecond
)

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr) //nolint:noctx // a test's connection
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestWaysAreCutApart(t *testing.T) {
	n := New("127.0.0.1")
	defer n.Close()
	addr, err := n.Forward("a", "b", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		c := dial(t, network, addr)
		if err := ask(t, c, long); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		for _, w := range []way{{"a", "b"}, {"b", "a"}} {
			n.Cut(w.from, w.to, true)
			if err := ask(t, c, short); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s over a cut way %v: %v", network, w, err)
			}
			n.Mend()
			if network == "tcp" {
				if err := hear(c, long); err != nil {
					t.Fatalf("what was held does not come: %v", err)
				}
			} else if err := ask(t, c, long); err != nil {
				t.Fatalf("udp after mending: %v", err)
			}
		}
		n.CutBoth("a", "c", true)
		if err := ask(t, c, long); err != nil {
			t.Fatalf("%s: another link was cut: %v", network, err)
		}
	}
}

func TestResetEndsStreams(t *testing.T) {
	n := New("127.0.0.1")
	defer n.Close()
	addr, err := n.Forward("a", "b", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, "tcp", addr)
	if err := ask(t, c, long); err != nil {
		t.Fatal(err)
	}
	n.Reset("b", "a")
	if err := hear(c, long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the stream goes on: %v", err)
	}
	if err := ask(t, dial(t, "tcp", addr), long); err != nil {
		t.Fatalf("no new stream: %v", err)
	}
	if err := ask(t, dial(t, "udp", addr), long); err != nil {
		t.Fatalf("packets were ended too: %v", err)
	}
}
