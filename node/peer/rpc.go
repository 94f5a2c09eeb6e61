package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Request asks a peer and waits for its answer. The payload is not copied and must not change until Request returns;
// if it returns early (ctx), never. While the peer's stream works but its rpc connection is still being made, Request
// waits for that; while MaxRequests are in work or the queue is full, it waits for room.
//
// Errors: ErrUnknownPeer, ErrNotConnected, ErrTooLarge, ErrClosed: the peer has not seen the request. ErrInterrupted and
// ctx's error: it may or may not have acted on it. *RemoteError: its handler returned an error. When ctx ends, the ctx
// of the peer's handler ends soon after.
func (l *Link) Request(ctx context.Context, to string, kind byte, payload []byte) ([]byte, error) {
	answer, err := l.request(ctx, to, kind, payload)
	if err != nil {
		if _, ok := errors.AsType[*RemoteError](err); ok {
			return nil, err // it names the peer itself
		}
		return nil, fmt.Errorf("request to %s: %w", to, err)
	}
	return answer, nil
}

func (l *Link) request(ctx context.Context, to string, kind byte, payload []byte) ([]byte, error) {
	r, err := l.remote(to, payload)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		stream, rpc, changed := r.outgoing()
		if rpc != nil {
			return rpc.call(ctx, kind, payload)
		}
		if stream == nil {
			return nil, ErrNotConnected
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.ctx.Done():
			return nil, ErrNotConnected
		}
	}
}

type result struct {
	payload []byte
	err     error
}

// rpcClient matches answers to requests on one outgoing rpc connection.
type rpcClient struct {
	w     *wire
	peer  string
	slots chan struct{} // one token a request in work

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan result // each with room for its one result
}

func newRPCClient(w *wire, peer string, maxRequests int) *rpcClient {
	return &rpcClient{
		w: w, peer: peer,
		slots:   make(chan struct{}, maxRequests),
		pending: make(map[uint64]chan result),
	}
}

func (c *rpcClient) call(ctx context.Context, kind byte, payload []byte) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.w.done:
		return nil, ErrNotConnected
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.slots }()

	id, answer := c.expect()
	defer c.forget(id)
	if err := c.w.sendWait(ctx, requestFrame(id, kind, payload)); err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		return a.payload, a.err
	case <-ctx.Done():
		// Best effort: a full queue only means that the peer finishes work that nobody waits for.
		_ = c.w.out.push(answerFrame(classCancel, id, nil))
		return nil, ctx.Err()
	case <-c.w.done:
	}
	select {
	case a := <-answer: // it came just before the end
		return a.payload, a.err
	default:
		return nil, ErrInterrupted
	}
}

func (c *rpcClient) expect() (uint64, <-chan result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	answer := make(chan result, 1)
	c.pending[c.last] = answer
	return c.last, answer
}

func (c *rpcClient) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// onFrame delivers an answer. One to a request that was given up is dropped.
func (c *rpcClient) onFrame(cl class, body []byte) error {
	if cl != classResponse && cl != classFailure {
		return protocolError(fmt.Sprintf("frame of class %d as an answer", cl))
	}
	id, rest, err := cutID(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	answer := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if answer == nil {
		return nil
	}
	if cl == classFailure {
		answer <- result{err: &RemoteError{Peer: c.peer, Text: cleanText(string(rest))}}
	} else {
		answer <- result{payload: rest}
	}
	return nil
}

// rpcServer runs the requests of one incoming rpc connection.
type rpcServer struct {
	l   *Link
	r   *remote
	w   *wire
	ctx context.Context // ends with the connection

	handlers sync.WaitGroup
	mu       sync.Mutex
	running  map[uint64]context.CancelFunc
}

func (l *Link) serveRequests(r *remote, w *wire) error {
	ctx, cancel := context.WithCancel(r.ctx)
	s := &rpcServer{l: l, r: r, w: w, ctx: ctx, running: make(map[uint64]context.CancelFunc)}
	err := w.run(s.onFrame)
	cancel()
	s.handlers.Wait()
	return err
}

// onFrame starts a request, or blocks until one may start: nothing more is read from a peer that has MaxRequests in
// work. Our own client never sends more than that, so its cancellations are not held up.
func (s *rpcServer) onFrame(c class, body []byte) error {
	id, rest, err := cutID(body)
	if err != nil {
		return err
	}
	switch c {
	case classCancel:
		s.mu.Lock()
		defer s.mu.Unlock()
		if cancel := s.running[id]; cancel != nil {
			cancel()
		}
		return nil
	case classRequest:
		kind, payload, err := cutKind(rest)
		if err != nil {
			return err
		}
		return s.start(id, kind, payload)
	default:
		return protocolError(fmt.Sprintf("frame of class %d on an rpc connection", c))
	}
}

func (s *rpcServer) start(id uint64, kind byte, payload []byte) error {
	select {
	case s.r.seat.requests <- struct{}{}:
	case <-s.w.done:
		return s.w.cause
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	_, twice := s.running[id]
	if !twice {
		s.running[id] = cancel
	}
	s.mu.Unlock()
	if twice {
		cancel()
		<-s.r.seat.requests
		return protocolError("two requests with one id")
	}
	s.handlers.Go(func() {
		defer func() { <-s.r.seat.requests }()
		answer, err := s.l.h.HandleRequest(ctx, s.r.id, kind, payload)
		gaveUp := ctx.Err() != nil
		s.mu.Lock()
		delete(s.running, id)
		s.mu.Unlock()
		cancel()
		if gaveUp {
			return
		}
		s.answer(id, answer, err)
	})
	return nil
}

// answer queues the answer, waiting for room; only the end of the connection stops it.
func (s *rpcServer) answer(id uint64, payload []byte, err error) {
	if longest := s.l.cfg.MaxPayloadBytes(); err == nil && len(payload) > longest {
		err = fmt.Errorf("answer of %d bytes, at most %d are allowed: %w", len(payload), longest, ErrTooLarge)
	}
	f := answerFrame(classResponse, id, payload)
	if err != nil {
		f = answerFrame(classFailure, id, []byte(cleanText(err.Error())))
	}
	_ = s.w.sendWait(s.ctx, f) // fails only when the connection is over: nobody is left to tell
}

// cleanText makes a text that comes from or goes to another node short and valid UTF-8.
func cleanText(s string) string {
	if len(s) > maxErrorBytes {
		s = s[:maxErrorBytes]
	}
	return strings.ToValidUTF8(s, "")
}
