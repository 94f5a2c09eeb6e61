package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxLineBytes bounds a line: a block in base64 and what is around it.
const maxLineBytes = 16 << 20

// Read reads the trace of one node, all its starts, in order. A last line that is cut off, as a machine that lost its
// power leaves it, is left out; anything else that is not a trace is [ErrMalformed].
func Read(r io.Reader) ([]Event, error) {
	var out []Event
	var start *Event
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil // without its end a line is not whole
		}
		if err != nil {
			return out, fmt.Errorf("read trace: %w", err)
		}
		if len(line) > maxLineBytes {
			return out, fmt.Errorf("line %d: %w: %d bytes", n, ErrMalformed, len(line))
		}
		var e Event
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			return out, fmt.Errorf("line %d: %w: %w", n, ErrMalformed, err)
		}
		if e.Kind == KindStart {
			if e.Inc == nil || e.Node == "" {
				return out, fmt.Errorf("line %d: %w: a start of nobody", n, ErrMalformed)
			}
			first := e
			start = &first
		} else {
			if start == nil {
				return out, fmt.Errorf("line %d: %w: before any start", n, ErrMalformed)
			}
			e.Node, e.Inc = start.Node, start.Inc
			if e.Boot == 0 {
				e.Boot = start.Boot
			}
		}
		out = append(out, e)
	}
}

// Merge puts the traces of several nodes of one machine into the order of time; those of one node keep theirs.
func Merge(traces ...[]Event) []Event {
	all := slices.Concat(traces...)
	slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return all
}
