package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

// maxEventLine bounds a line of the events stream in bytes.
const maxEventLine = 1 << 20

// Events returns the cluster's events, until ctx ends or the loop over it does. Blocks come from height from on, or from
// now on when that is 0, each once, in order and without a gap, whichever node the stream comes from: when one falls
// silent or dies the next one goes on behind the last block. Other events are those of the node that is listened to at
// the time, and are lost while there is none.
//
// An error is yielded only where trying again is of no use, and ends the sequence.
func (c *Client) Events(ctx context.Context, from block.Height) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r := &eventReader{c: c, yield: yield}
		if from > 0 {
			r.begin(from - 1)
		}
		node := int(c.next.Load() % uint64(len(c.urls)))
		fruitless := 0 // attempts in a row that brought no event
		for ctx.Err() == nil {
			r.progress = false
			err := r.read(ctx, c.urls[node])
			switch {
			case r.stopped || ctx.Err() != nil:
				return
			case err != nil && judge(err) == final:
				yield(Event{}, fmt.Errorf("events of %s: %w", c.urls[node], err))
				return
			case r.progress:
				fruitless = 0
			default:
				fruitless++
			}
			node = (node + 1) % len(c.urls)
			// One round over all nodes costs no waiting.
			if rounds := fruitless / len(c.urls); fruitless == 0 || rounds > 0 {
				select {
				case <-time.After(c.backoff(max(rounds-1, 0), err)):
				case <-ctx.Done():
				}
			}
		}
	}
}

// errStreamEnded is the end of a stream that a node closed in good order.
var errStreamEnded = errors.New("the node ended the stream")

// eventReader is one sequence of events over several connections.
type eventReader struct {
	c        *Client
	yield    func(Event, error) bool
	stopped  bool         // the reader of the sequence has enough
	progress bool         // this connection brought an event
	begun    bool         // last is known; otherwise the stream begins with what comes
	last     block.Height // newest block that was yielded, or the one below the first
}

func (r *eventReader) begin(last block.Height) { r.begun, r.last = true, last }

// read follows one node's stream until it breaks, always with an error unless the sequence is stopped.
func (r *eventReader) read(ctx context.Context, base string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(r.c.opts.StreamSilence, cancel)
	defer silence.Stop()

	header := http.Header{"Accept": {"text/event-stream"}}
	if r.begun {
		header.Set("Last-Event-ID", formatHeight(r.last))
	}
	resp, err := r.c.request(ctx, http.MethodGet, base+"/v1/events", nil, header)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(resp.Body, smallAnswerBytes))
		if err != nil {
			return err
		}
		return apiError(resp, data)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEventLine)
	var id, typ string
	var data []byte
	for lines.Scan() {
		silence.Reset(r.c.opts.StreamSilence)
		line := lines.Bytes()
		if len(line) == 0 {
			if err := r.dispatch(id, wire.EventType(typ), data); err != nil || r.stopped {
				return err
			}
			id, typ, data = "", "", nil
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			id = string(value)
		case "event":
			typ = string(value)
		case "data":
			if len(data)+len(value) > maxEventLine {
				return errors.New("an event is too large")
			}
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return errStreamEnded // an event that was not ended by an empty line is dropped: it may not be whole
}

// dispatch passes on one event of the stream.
func (r *eventReader) dispatch(id string, typ wire.EventType, data []byte) error {
	if data == nil { // a comment, or where the stream begins
		if h, err := strconv.ParseUint(id, 10, 64); err == nil && !r.begun {
			r.begin(block.Height(h))
		}
		return nil
	}
	e, err := wire.ParseEvent(typ, data)
	if errors.Is(err, wire.ErrUnknownEvent) {
		return nil
	}
	if err != nil {
		return err
	}
	r.progress = true
	if e.Block != nil {
		if r.begun && e.Block.Height <= r.last {
			return nil
		}
		if r.begun && e.Block.Height != r.last+1 {
			return fmt.Errorf("block %d follows block %d", e.Block.Height, r.last)
		}
		r.begin(e.Block.Height)
	}
	r.stopped = !r.yield(e, nil)
	return nil
}
