package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/api/wire"
)

// handler answers one request. An error that it returns is the answer, unless it has begun one.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one method of one path. A nil slots means that the route is not bounded.
type route struct {
	method, path string
	slots        slots
	handle       handler
}

// router serves routes, and everything else, with JSON errors, and keeps faults of a handler away from the process.
type router struct {
	log          zerolog.Logger
	mux          *http.ServeMux
	metrics      *metrics // nil: not measured
	writeTimeout time.Duration
	// admit, if not nil, is asked before anything of a request is looked at; its error is the answer.
	admit func(r *http.Request, path string) error
}

// newRouter puts routes together. GET serves HEAD too.
func newRouter(log zerolog.Logger, m *metrics, writeTimeout time.Duration, routes []route) *router {
	rt := &router{log: log, mux: http.NewServeMux(), metrics: m, writeTimeout: writeTimeout}
	byPath := make(map[string]map[string]route)
	for _, r := range routes {
		if byPath[r.path] == nil {
			byPath[r.path] = make(map[string]route)
		}
		byPath[r.path][r.method] = r
	}
	for path, methods := range byPath {
		var allowed []string
		for method := range methods {
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		rt.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			rt.serve(w, r, path, func(w http.ResponseWriter, r *http.Request) error {
				found, ok := methods[method]
				if !ok {
					w.Header().Set("Allow", allow)
					return methodNotAllowed(r.Method, allow)
				}
				if found.slots != nil {
					if !found.slots.take() {
						return Overloaded(0)
					}
					defer found.slots.give()
				}
				return found.handle(w, r)
			})
		})
	}
	rt.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		rt.serve(w, r, "other", func(http.ResponseWriter, *http.Request) error {
			return NotFound("there is nothing at " + quote(r.URL.Path))
		})
	})
	return rt
}

// ServeHTTP implements [http.Handler].
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt.mux.ServeHTTP(w, r) }

// serve runs one handler and sees to its error, its panic, the log and the metrics.
func (rt *router) serve(w http.ResponseWriter, r *http.Request, path string, h handler) {
	begun := time.Now()
	t := &tracker{ResponseWriter: w}
	t.Header().Set("Cache-Control", "no-store")
	t.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		fault := recover()
		if fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			rt.log.Error().Str("method", r.Method).Str("path", path).Str("panic", fmt.Sprint(fault)).
				Bytes("stack", debug.Stack()).Msg("a handler panicked")
			if t.status == 0 {
				fault = nil
				rt.writeError(t, internal())
			} else {
				fault = http.ErrAbortHandler // what was sent so far must not pass for a whole answer
			}
		}
		took := time.Since(begun)
		rt.metrics.observe(path, r.Method, t.status, took)
		rt.log.Debug().Str("method", r.Method).Str("path", path).Int("status", t.status).Dur("took", took).
			Str("from", r.RemoteAddr).Msg("request")
		if fault != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	if r.Body == http.NoBody {
		// All of the request is read. Its deadline would otherwise end the context of a handler that takes longer; from
		// now on only the end of the connection is listened for. With a body, the handler that reads it does the same.
		rt.readDeadline(t, time.Time{})
	}
	var err error
	if rt.admit != nil {
		err = rt.admit(r, path)
	}
	if err == nil {
		err = h(t, r)
	}
	if err == nil {
		return
	}
	var answer *Error
	switch {
	case t.status == 0 && errors.As(err, &answer):
	case t.status != 0 || r.Context().Err() != nil:
		// The answer has begun, or nobody is there to read one: cut the connection.
		rt.log.Debug().Err(err).Str("path", path).Msg("request cut off")
		panic(http.ErrAbortHandler)
	case errors.Is(err, context.DeadlineExceeded):
		answer = unavailable("the node took too long to answer, try again")
	default:
		rt.log.Error().Err(err).Str("method", r.Method).Str("path", path).Msg("request not answered")
		answer = internal()
	}
	rt.writeError(t, answer)
}

// writeError answers with e.
func (rt *router) writeError(w http.ResponseWriter, e *Error) {
	if e.RetryAfter > 0 {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	rt.writeJSON(w, e.Status, e.Body())
}

// writeJSON answers with the JSON of v. That a client is no longer there to read it is not an error of the request.
func (rt *router) writeJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // payloads stay readable; a browser is told that this is JSON
	if err := enc.Encode(v); err != nil {
		rt.log.Error().Err(err).Msg("answer has no JSON form")
		panic(http.ErrAbortHandler)
	}
	rt.allowWrite(w, rt.writeTimeout)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if _, err := w.Write(buf.Bytes()); err != nil {
		rt.log.Debug().Err(err).Msg("answer not taken")
	}
}

// allowWrite gives the client from now on d to take what is written. It replaces the deadline that began with the
// request, which a handler that waits for consensus may have used up.
func (rt *router) allowWrite(w http.ResponseWriter, d time.Duration) {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)); err != nil {
		rt.log.Debug().Err(err).Msg("no write deadline")
	}
}

// readDeadline replaces the deadline for reading the request.
func (rt *router) readDeadline(w http.ResponseWriter, at time.Time) {
	if err := http.NewResponseController(w).SetReadDeadline(at); err != nil {
		rt.log.Debug().Err(err).Msg("no read deadline")
	}
}

func methodNotAllowed(method, allow string) *Error {
	return &Error{
		Status: http.StatusMethodNotAllowed, Code: wire.CodeMethodNotAllowed,
		Message: "method " + quote(method) + " is not known here, only " + allow,
	}
}

// tracker remembers whether an answer has begun, and with which status.
type tracker struct {
	http.ResponseWriter
	status int
}

func (t *tracker) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracker) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return t.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
