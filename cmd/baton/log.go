package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/config"
)

// logTime is RFC 3339 with milliseconds.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// logGate lets through what a level wants, and the level may change: unlike that of a zerolog.Logger, of which every part
// has a copy. It is asked before anything of a line is made. It is safe for concurrent use.
type logGate struct{ least atomic.Int32 }

// Sample implements zerolog.Sampler.
func (g *logGate) Sample(level zerolog.Level) bool { return int32(level) >= g.least.Load() }

// set changes the level. It was validated.
func (g *logGate) set(level string) {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		l = zerolog.InfoLevel
	}
	g.least.Store(int32(l))
}

// newLogger is the logger that a config asks for. The level was validated.
func newLogger(to io.Writer, c config.Log) zerolog.Logger {
	log, _ := newGatedLogger(to, c)
	return log
}

// newGatedLogger is newLogger, with the gate that changes its level and that of every logger made of it.
func newGatedLogger(to io.Writer, c config.Log) (zerolog.Logger, *logGate) {
	gate := &logGate{}
	gate.set(c.Level)
	if c.Format == "console" {
		to = zerolog.ConsoleWriter{Out: to, NoColor: true, TimeFormat: logTime, TimeLocation: time.UTC}
	}
	// zerolog's own timestamp has whole seconds unless a global variable says otherwise.
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(logTime))
	})
	return zerolog.New(to).Hook(stamp).Sample(gate), gate
}

// holdBytes bounds what a holdingWriter keeps.
const holdBytes = 1 << 20

// holdingWriter keeps what is logged until it is released: a start that fails for its configuration or its folder says
// so on one line, which the error is. It is safe for concurrent use.
type holdingWriter struct {
	mu   sync.Mutex
	to   io.Writer
	held bytes.Buffer
	free bool
}

// Write keeps p, or writes it once released. What does not fit is not kept.
func (w *holdingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free {
		return w.to.Write(p)
	}
	if w.held.Len()+len(p) <= holdBytes {
		w.held.Write(p)
	}
	return len(p), nil
}

// release writes what was kept, and from now on everything at once.
func (w *holdingWriter) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = true
	_, err := w.held.WriteTo(w.to)
	return err
}

// lockedWriter lets several write to one writer. It is safe for concurrent use.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write writes p.
func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
