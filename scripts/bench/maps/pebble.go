package main

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	idb "github.com/cosmos/iavl/db"
)

// openPebble opens a database with the options that matter to both maps.
func openPebble(dir string, cacheBytes int64) (*pebble.DB, error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	opts := &pebble.Options{Cache: cache, MemTableSize: 32 << 20, FormatMajorVersion: pebble.FormatWALSyncChunks, Logger: quiet{}}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return pebble.Open(dir, opts)
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

// get returns a copy of a value, nil if there is none.
func get(db *pebble.DB, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(v), closer.Close()
}

// iavlDB is a Pebble database as iavl wants it.
type iavlDB struct{ db *pebble.DB }

var _ idb.DB = iavlDB{}

func (d iavlDB) Get(key []byte) ([]byte, error) { return get(d.db, key) }

func (d iavlDB) Has(key []byte) (bool, error) {
	v, err := get(d.db, key)
	return v != nil, err
}

func (d iavlDB) Iterator(start, end []byte) (idb.Iterator, error) {
	return d.iterator(start, end, false)
}

func (d iavlDB) ReverseIterator(start, end []byte) (idb.Iterator, error) {
	return d.iterator(start, end, true)
}

func (d iavlDB) iterator(start, end []byte, reverse bool) (idb.Iterator, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, err
	}
	if reverse {
		it.Last()
	} else {
		it.First()
	}
	return &iavlIterator{it: it, start: start, end: end, reverse: reverse}, nil
}

func (d iavlDB) Close() error { return nil } // whoever opened it closes it

func (d iavlDB) NewBatch() idb.Batch { return &iavlBatch{b: d.db.NewBatch()} }

func (d iavlDB) NewBatchWithSize(size int) idb.Batch {
	return &iavlBatch{b: d.db.NewBatchWithSize(size)}
}

type iavlIterator struct {
	it         *pebble.Iterator
	start, end []byte
	reverse    bool
}

func (i *iavlIterator) Domain() (start, end []byte) { return i.start, i.end }
func (i *iavlIterator) Valid() bool                 { return i.it.Valid() }
func (i *iavlIterator) Key() []byte                 { return bytes.Clone(i.it.Key()) }
func (i *iavlIterator) Value() []byte               { return bytes.Clone(i.it.Value()) }
func (i *iavlIterator) Error() error                { return i.it.Error() }
func (i *iavlIterator) Close() error                { return i.it.Close() }

func (i *iavlIterator) Next() {
	if i.reverse {
		i.it.Prev()
		return
	}
	i.it.Next()
}

type iavlBatch struct{ b *pebble.Batch }

func (b *iavlBatch) Set(key, value []byte) error { return b.b.Set(key, value, nil) }
func (b *iavlBatch) Delete(key []byte) error     { return b.b.Delete(key, nil) }
func (b *iavlBatch) Write() error                { return b.b.Commit(pebble.NoSync) }
func (b *iavlBatch) WriteSync() error            { return b.b.Commit(pebble.Sync) }
func (b *iavlBatch) GetByteSize() (int, error)   { return b.b.Len(), nil }

func (b *iavlBatch) Close() error {
	if b.b == nil {
		return nil
	}
	err := b.b.Close()
	b.b = nil
	return err
}
