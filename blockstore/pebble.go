package blockstore

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// memTableBytes bounds the log that an Open replays. A group of blocks over half of it takes a slower path in Pebble.
const memTableBytes = 32 << 20

// pebbleOptions returns the options for a folder. fatal hears of errors that Pebble would end the process for.
//
// Tried with scripts/bench/state and three million accounts, of which the caches held a fraction, in turns, and not worth
// it: blocks of 16 KiB 1.03 times the CPU time of a transfer, index blocks of 64 KiB 0.98, no filters at all 1.00; runs differ
// by more.
func pebbleOptions(fs vfs.FS, cache *pebble.Cache, log zerolog.Logger, fatal func(error)) *pebble.Options {
	opts := &pebble.Options{
		FS:    fs,
		Cache: cache,
		// Pinned, so that a newer Pebble does not move the format before it was meant to. From this version on the log
		// tells a torn tail from rot in what had been synced.
		FormatMajorVersion:          pebble.FormatWALSyncChunks,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       1000, // a stalled commit would look like a stuck disk
		Logger:                      pebbleLogger{log: log, fatal: fatal},
		EventListener: &pebble.EventListener{
			// Failed writes are reported by the file system below; what comes here besides is reading.
			BackgroundError: func(err error) { log.Error().Err(err).Msg("store: background error") },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				log.Error().Err(info.Details).Str("file", info.Path).Msg("store: corrupt file")
			},
			DiskSlow: func(info pebble.DiskSlowInfo) { log.Warn().Stringer("info", info).Msg("store: slow disk") },
		},
	}
	last := len(opts.Levels) - 1
	for i := range last {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // a look-up passes through all levels and finds something in one at most
	}
	opts.Levels[last].FilterPolicy = pebble.NoFilterPolicy // a Get would not read it
	return opts
}

// pebbleLogger passes Pebble's lines on. Its Fatalf returns: the store has failed, its owner decides about the process.
type pebbleLogger struct {
	log   zerolog.Logger
	fatal func(error)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug().Msgf("pebble: "+format, args...)
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error().Msgf("pebble: "+format, args...)
}

func (l pebbleLogger) Fatalf(format string, args ...any) { l.fatal(fmt.Errorf(format, args...)) }

// database is what reading needs of Pebble.
type database interface {
	Get(key []byte) ([]byte, io.Closer, error)
}

// readError is what an error of a read means.
func readError(op string, err error) error {
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%s: %w", op, ErrNotFound)
	case pebble.IsCorruptionError(err), errors.Is(err, syscall.EIO): // rot, and a sector that the disk itself gives up
		return &CorruptionError{Op: op, Err: err}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// get returns a copy of a value: ErrNotFound when there is none, *CorruptionError when it cannot be read truthfully.
func get(db database, op string, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if err != nil {
		return nil, readError(op, err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return out, nil
}

// read gets and decodes a record.
func read[T any](db database, op string, key []byte, decode func([]byte) (T, error)) (T, error) {
	var zero T
	rec, err := get(db, op, key)
	if err != nil {
		return zero, err
	}
	v, err := decode(rec)
	if err != nil {
		return zero, &CorruptionError{Op: op, Err: err}
	}
	return v, nil
}
