package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/config"
)

// logTime is RFC 3339 with milliseconds.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// newLogger is the logger that a config asks for. The level was validated.
func newLogger(to io.Writer, c config.Log) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if c.Format == "console" {
		to = zerolog.ConsoleWriter{Out: to, NoColor: true, TimeFormat: logTime, TimeLocation: time.UTC}
	}
	// zerolog's own timestamp has whole seconds unless a global variable says otherwise.
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(logTime))
	})
	return zerolog.New(to).Level(level).Hook(stamp)
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
