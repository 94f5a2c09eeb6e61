package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

// errStreamEnd ends a stream: the server shuts down or the backend has dropped the reader, who comes back and resumes.
var errStreamEnd = errors.New("stream ended")

// reconnectMs is how long a browser waits before it comes back.
const reconnectMs = 1000

// getEvents answers GET /v1/events.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	err := s.streamEvents(w, r)
	if errors.Is(err, errStreamEnd) {
		return nil // end the answer in good order
	}
	return err
}

func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	watched, err := parseSwitch(query, "cluster")
	if err != nil {
		return err
	}
	last, err := s.resumeAt(r, query)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if err := s.keeps(ctx, last+1); err != nil {
		return err
	}
	st := &stream{s: s, w: w, rc: http.NewResponseController(w), last: last}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies: pass each event on at once
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil // its answer has no end to wait for
	}
	// An id without data is no event: it only tells a reader that is cut before its first block where to resume.
	if err := st.write(fmt.Appendf(nil, "id: %d\nretry: %d\n\n", last, reconnectMs)); err != nil {
		return err
	}
	// First without a subscription, which would overflow during a long way back; then once more for what became final
	// until there was one. What remains is seen by height.
	if err := st.replay(ctx, s.backend.Latest(ctx)); err != nil {
		return err
	}
	events := s.backend.Subscribe(ctx)
	var cluster <-chan *Cluster // nil: not asked for
	if watched {
		cluster = s.backend.WatchCluster(ctx)
	}
	if err := st.replay(ctx, s.backend.Latest(ctx)); err != nil {
		return err
	}
	heartbeat := time.NewTicker(s.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case e, open := <-events:
			if !open {
				return errStreamEnd
			}
			if err := st.live(ctx, e); err != nil {
				return err
			}
		case c, open := <-cluster:
			if !open {
				return errStreamEnd
			}
			if err := st.send(Event{Cluster: c}); err != nil {
				return err
			}
		case <-heartbeat.C:
			if err := st.write([]byte(": still here\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return errStreamEnd
		}
	}
}

// resumeAt returns the height of the last block that the reader knows: the one that it names in Last-Event-ID, else the
// one below ?from, else the newest.
func (s *Server) resumeAt(r *http.Request, query url.Values) (block.Height, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return parseHeight("Last-Event-ID", id)
	}
	if text := query.Get("from"); text != "" {
		from, err := parseHeight("from", text)
		if err == nil && from == 0 {
			err = Malformed("from: the first block that is an event is 1")
		}
		return from - 1, err
	}
	return s.backend.Latest(r.Context()), nil
}

// keeps refuses a reader whose next block this node has deleted: it would come back again and again.
func (s *Server) keeps(ctx context.Context, h block.Height) error {
	if h > s.backend.Latest(ctx) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	_, err := s.backend.Final(ctx, h)
	if errors.Is(err, ErrNotFound) {
		return NotFound(fmt.Sprintf("this node does not keep block %d any more", h))
	}
	return err
}

// stream is one reader. It belongs to its handler.
type stream struct {
	s    *Server
	w    http.ResponseWriter
	rc   *http.ResponseController
	last block.Height // the newest block that the reader knows
	buf  bytes.Buffer
}

// replay sends the blocks above the last one, up to and including height to.
func (st *stream) replay(ctx context.Context, to block.Height) error {
	for st.last < to {
		select {
		case <-st.s.closing:
			return errStreamEnd
		default:
		}
		query, cancel := context.WithTimeout(ctx, st.s.cfg.QueryTimeout)
		f, err := st.s.backend.Final(query, st.last+1)
		cancel()
		if err != nil {
			return fmt.Errorf("event of block %d: %w", st.last+1, err)
		}
		if err := st.send(Event{Block: wire.NewBlockEvent(f.Block)}); err != nil {
			return err
		}
	}
	return nil
}

// live sends an event of the subscription: a block only when it is new, after those that are missing before it.
func (st *stream) live(ctx context.Context, e Event) error {
	if e.Block == nil {
		return st.send(e)
	}
	if e.Block.Height <= st.last {
		return nil
	}
	if err := st.replay(ctx, e.Block.Height-1); err != nil {
		return err
	}
	return st.send(e)
}

// send writes one event.
func (st *stream) send(e Event) error {
	data, err := json.Marshal(e.Data())
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Type(), err)
	}
	st.buf.Reset()
	if e.Block != nil {
		fmt.Fprintf(&st.buf, "id: %d\n", e.Block.Height)
	}
	fmt.Fprintf(&st.buf, "event: %s\ndata: %s\n\n", e.Type(), data)
	if err := st.write(st.buf.Bytes()); err != nil {
		return err
	}
	if e.Block != nil {
		st.last = e.Block.Height
	}
	return nil
}

// write sends p at once; a reader that does not take it in time is cut.
func (st *stream) write(p []byte) error {
	st.s.router.allowWrite(st.w, st.s.cfg.WriteTimeout)
	if _, err := st.w.Write(p); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := st.rc.Flush(); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}
