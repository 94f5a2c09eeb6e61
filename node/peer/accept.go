package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

func (l *Link) acceptLoop() {
	var wait time.Duration
	for {
		raw, err := l.ln.Accept()
		if err == nil {
			wait = 0
			if !l.gate.enter(raw) {
				_ = raw.Close()
				l.refuse(raw.RemoteAddr(), refusal("too many connections"))
				continue
			}
			l.wg.Go(func() { l.serve(raw) })
			continue
		}
		if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		// Most likely out of file descriptors: connections that end will free some.
		if unsaid, ok := l.warn.speak(time.Now()); ok {
			l.log.Error().Err(err).Uint64("unsaid", unsaid).Msg("accept peer connection")
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// refuse counts a connection that was turned away, and logs some.
func (l *Link) refuse(from net.Addr, err error) {
	l.count.refused.Add(1)
	if unsaid, ok := l.warn.speak(time.Now()); ok {
		l.log.Warn().Stringer("from", from).Err(err).Uint64("unsaid", unsaid).Msg("peer connection refused")
	}
}

// serve takes an incoming connection from its first byte to its end.
func (l *Link) serve(raw net.Conn) {
	defer l.gate.leave(raw)
	defer func() { _ = raw.Close() }()
	r, conn, err := l.authenticate(raw)
	if err != nil {
		if l.ctx.Err() == nil {
			l.refuse(raw.RemoteAddr(), err)
		}
		return
	}
	if proto := conn.ConnectionState().NegotiatedProtocol; proto != Proto {
		stop := context.AfterFunc(r.ctx, func() { _ = raw.Close() })
		defer stop()
		if err := raw.SetDeadline(time.Time{}); err != nil {
			return // closed meanwhile
		}
		l.count.accepts.Add(1)
		l.cfg.ALPN[proto](conn, r.id)
		return
	}
	w := newWire(&l.cfg, &l.count, raw, conn)
	stop := context.AfterFunc(r.ctx, func() { w.close(ErrClosed) })
	defer stop()
	role, err := l.receive(r, w)
	if err != nil {
		if r.ctx.Err() == nil {
			l.refuse(raw.RemoteAddr(), fmt.Errorf("peer %s: %w", r.id, err))
		}
		return
	}
	l.count.accepts.Add(1)
	r.arrive(role, w)
	defer r.depart(role, w)
	r.redial() // a peer that comes back can be reached again
	if role == roleRPC {
		err = l.serveRequests(r, w)
	} else {
		err = l.serveMessages(r, w)
	}
	if r.ctx.Err() == nil {
		l.log.Debug().Str("peer", r.id).Stringer("conn", role).Err(err).Msg("connection from peer ended")
	}
}

// authenticate does the TLS handshake within its time and returns whose key was proved.
func (l *Link) authenticate(raw net.Conn) (*remote, *tls.Conn, error) {
	if err := raw.SetDeadline(time.Now().Add(l.cfg.HandshakeTimeout)); err != nil {
		return nil, nil, err
	}
	conn := tls.Server(newOutlet(raw), l.server)
	if err := conn.HandshakeContext(l.ctx); err != nil {
		return nil, nil, err
	}
	key, err := leafKey(conn.ConnectionState())
	if err != nil {
		return nil, nil, err
	}
	r := l.remoteOf(key)
	if r == nil {
		return nil, nil, errWrongKey // it was removed since the handshake looked
	}
	if !l.gate.proved(raw) {
		return nil, nil, refusal("too many connections")
	}
	return r, conn, nil
}

// receive reads the hello of an authenticated peer and answers it.
func (l *Link) receive(r *remote, w *wire) (role, error) {
	c, body, err := w.next()
	if err != nil {
		return 0, fmt.Errorf("await hello: %w", err)
	}
	if c != classHello {
		return 0, protocolError(fmt.Sprintf("frame of class %d instead of a hello", c))
	}
	h, err := decodeHello(body)
	if err == nil && h.from != r.id {
		err = refusal(fmt.Sprintf("it calls itself %q, but its key is that of %q here", cleanText(h.from), r.id))
	}
	if err == nil && h.to != l.cfg.ID {
		err = refusal(fmt.Sprintf("it calls this node %q, but this is %q", cleanText(h.to), l.cfg.ID))
	}
	if err != nil {
		_ = w.greet(classRefused, []byte(cleanText(err.Error()))) // a courtesy
		return 0, err
	}
	if err := w.greet(classWelcome, nil); err != nil {
		return 0, fmt.Errorf("say welcome: %w", err)
	}
	return h.role, w.open(l.cfg.MaxFrameBytes)
}

// serveMessages hands an incoming stream's messages to the handler. A connection that replaces another delivers only
// after that one's last call has returned; a connection that was replaced delivers nothing any more.
func (l *Link) serveMessages(r *remote, w *wire) error {
	turn := false
	defer func() {
		if turn {
			<-r.seat.in
		}
	}()
	return w.run(func(c class, body []byte) error {
		if c != classMessage {
			return protocolError(fmt.Sprintf("frame of class %d on a stream", c))
		}
		kind, payload, err := cutKind(body)
		if err != nil {
			return err
		}
		if !turn {
			select {
			case r.seat.in <- struct{}{}:
				turn = true
			case <-w.done:
				return w.cause
			}
		}
		if w.closed() {
			return w.cause
		}
		l.h.HandleMessage(r.id, kind, payload)
		return nil
	})
}
