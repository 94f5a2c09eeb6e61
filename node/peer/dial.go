package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"
)

// keepAlive is TCP's own probing. The frames' pings are faster; this is for connections of other protocols.
// TCP_USER_TIMEOUT is left alone: it would also end connections to a living peer that reads slowly.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// backoff yields the waits between redials: doubling from least to most, each drawn from its upper half.
type backoff struct {
	least, most time.Duration
	rand        func(n int) int
	current     time.Duration
}

func (b *backoff) next() time.Duration {
	if b.current == 0 {
		b.current = b.least
	}
	half := b.current / 2
	wait := b.current - half + time.Duration(b.rand(int(half)+1))
	b.current = min(2*b.current, b.most)
	return wait
}

func (b *backoff) reset() { b.current = 0 }

// startDialling starts the two loops that keep the outgoing connections. The caller holds l.mu and saw it not closed.
func (l *Link) startDialling(r *remote) {
	l.wg.Go(func() { l.dialLoop(r, roleStream) })
	l.wg.Go(func() { l.dialLoop(r, roleRPC) })
}

func (l *Link) dialLoop(r *remote, role role) {
	wait := backoff{least: l.cfg.BackoffMin, most: l.cfg.BackoffMax, rand: l.cfg.Rand}
	for r.ctx.Err() == nil {
		select {
		case <-r.kick[role]: // this attempt is what it asks for
		default:
		}
		w, err := l.connect(r, role)
		if err == nil {
			since := time.Now()
			err = l.runOutgoing(r, role, w)
			if time.Since(since) >= l.cfg.BackoffMax {
				wait.reset()
			}
			l.logOutgoing(r, role, err, "connection to peer lost")
		} else {
			l.logOutgoing(r, role, err, "no connection to peer")
		}
		timer := time.NewTimer(wait.next())
		select {
		case <-timer.C:
		case <-r.kick[role]:
			wait.reset()
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

func (l *Link) logOutgoing(r *remote, role role, err error, text string) {
	if r.ctx.Err() != nil {
		return
	}
	level := zerolog.DebugLevel
	unsaid, ok := r.warn.speak(time.Now())
	if ok {
		level = zerolog.WarnLevel
	}
	l.log.WithLevel(level).Str("peer", r.id).Str("addr", r.address()).Stringer("conn", role).
		Uint64("unsaid", unsaid).Err(err).Msg(text)
}

// connect makes one outgoing connection, up to the peer's welcome.
func (l *Link) connect(r *remote, role role) (*wire, error) {
	raw, conn, err := l.dialTLS(r.ctx, r, Proto)
	if err != nil {
		return nil, err
	}
	w, err := l.introduce(r, role, raw, conn)
	if err != nil {
		_ = raw.Close()
		l.count.refused.Add(1)
		return nil, err
	}
	l.count.connects.Add(1)
	return w, nil
}

// introduce says hello and waits for the welcome. Only that proves that the peer accepts our key: in TLS 1.3 a client's
// handshake ends before the server has looked at the client's certificate.
func (l *Link) introduce(r *remote, role role, raw net.Conn, conn *tls.Conn) (*wire, error) {
	stop := context.AfterFunc(r.ctx, func() { _ = raw.Close() })
	defer stop()
	w := newWire(&l.cfg, &l.count, raw, conn)
	if err := w.greet(classHello, hello{role: role, from: l.cfg.ID, to: r.id}.encode()); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	c, body, err := w.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("await welcome: %w", err)
	case c == classRefused:
		return nil, refusal("refused by the peer: " + cleanText(string(body)))
	case c != classWelcome || len(body) != 0:
		return nil, protocolError(fmt.Sprintf("frame of class %d instead of a welcome", c))
	}
	return w, w.open(l.cfg.MaxFrameBytes)
}

// runOutgoing serves a welcomed outgoing connection until it is lost.
func (l *Link) runOutgoing(r *remote, role role, w *wire) error {
	stop := context.AfterFunc(r.ctx, func() { w.close(ErrClosed) })
	defer stop()
	if role == roleRPC {
		c := newRPCClient(w, r.id, l.cfg.MaxRequests)
		r.setRPC(c)
		defer r.setRPC(nil)
		return w.run(c.onFrame)
	}
	select {
	case r.seat.out <- struct{}{}:
	case <-w.done: // its predecessor with another key is not down yet, and it is over already
		return w.cause
	}
	defer func() { <-r.seat.out }()
	r.setStream(w)
	l.log.Info().Str("peer", r.id).Stringer("addr", w.raw.RemoteAddr()).Msg("peer connected")
	l.h.PeerUp(r.id)
	err := w.run(func(c class, _ []byte) error {
		return protocolError(fmt.Sprintf("frame of class %d on an outgoing stream", c))
	})
	r.setStream(nil)
	l.h.PeerDown(r.id)
	return err
}

// dialTLS connects to r and proves both keys, as far as a client can tell. The connection has the handshake's deadline.
func (l *Link) dialTLS(ctx context.Context, r *remote, proto string) (net.Conn, *tls.Conn, error) {
	d := net.Dialer{Timeout: l.cfg.DialTimeout, KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", r.address())
	if err != nil {
		return nil, nil, err
	}
	conn := tls.Client(newOutlet(raw), clientTLS(l.cert, proto, r.key))
	if err = raw.SetDeadline(time.Now().Add(l.cfg.HandshakeTimeout)); err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err != nil {
		_ = raw.Close()
		l.count.refused.Add(1)
		return nil, nil, fmt.Errorf("handshake with %s: %w", r.address(), err)
	}
	return raw, conn, nil
}

// Dial makes a connection to a peer for another protocol, one that the peer has in its Config.ALPN. The peer has proved
// its key; whether it accepts ours shows at the first read. The result is a *tls.Conn without deadlines; it is the
// caller's, and neither Close nor SetPeers ends it.
func (l *Link) Dial(ctx context.Context, to, proto string) (net.Conn, error) {
	r, err := l.remote(to, nil)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	raw, conn, err := l.dialTLS(ctx, r, proto)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return conn, nil
}
