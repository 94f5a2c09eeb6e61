package sync

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// ALPN is the name under which [Server.ServeConn] is registered with the peer link, and which [LinkClient] dials.
const ALPN = "h2"

// LinkClient returns a client whose connections dial makes, each a *tls.Conn that has agreed on [ALPN] (peer.Link.Dial).
// Call its CloseIdleConnections when it is of no use any more.
func LinkClient(dial func(ctx context.Context) (net.Conn, error)) *http.Client {
	t := &http.Transport{
		DialTLSContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		ForceAttemptHTTP2: true, DisableCompression: true, IdleConnTimeout: time.Minute,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}, // a dead one is noticed
	}
	return &http.Client{Transport: t}
}

// conns hands connections that others accepted to an HTTP server. It implements [net.Listener].
type conns struct {
	incoming chan net.Conn
	closed   chan struct{}
	close    func()

	mu   sync.Mutex
	over map[net.Conn]chan struct{} // closed when the server is done with the connection
}

func newConns() *conns {
	c := &conns{incoming: make(chan net.Conn), closed: make(chan struct{}), over: map[net.Conn]chan struct{}{}}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	return c
}

func (c *conns) Accept() (net.Conn, error) {
	select {
	case conn := <-c.incoming:
		return conn, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c *conns) Close() error {
	c.close()
	return nil
}

func (c *conns) Addr() net.Addr { return &net.TCPAddr{} }

// serve hands over a connection and returns when the server is done with it.
func (c *conns) serve(conn net.Conn) {
	over := make(chan struct{})
	c.mu.Lock()
	c.over[conn] = over
	c.mu.Unlock()
	select {
	case c.incoming <- conn:
		<-over
	case <-c.closed:
		c.state(conn, http.StateClosed)
	}
}

// state is the server's ConnState.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	if s != http.StateClosed && s != http.StateHijacked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if over, ok := c.over[conn]; ok {
		close(over)
		delete(c.over, conn)
	}
}
