//go:build faults

package blockstore

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk returns the file system of this machine, or one that is as ill as the file BATON_DISK says, for chaos runs:
//
//	fsync-error   fsyncs fail        write-error   writes fail
//	hang          fsyncs do not return until the file says otherwise
//	slow 120ms    fsyncs take that much longer
func disk() vfs.FS {
	if path := os.Getenv("BATON_DISK"); path != "" {
		return &illFS{FS: vfs.Default, path: path}
	}
	return vfs.Default
}

// illFS is a file system that does what a file says.
type illFS struct {
	vfs.FS
	path string
}

// hangEvery is how often an operation that hangs looks whether it may go on.
const hangEvery = 10 * time.Millisecond

var (
	errFsync = errors.New("fsync: input/output error (injected)")
	errWrite = errors.New("write: input/output error (injected)")
)

func (f *illFS) illness() (kind string, d time.Duration) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return "", 0
	}
	kind, length, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	if d, err = time.ParseDuration(length); err != nil {
		d = 0
	}
	return kind, d
}

// sync suffers what an fsync has to.
func (f *illFS) sync() error {
	kind, d := f.illness()
	if kind == "slow" {
		<-time.After(d)
	}
	for kind == "hang" {
		<-time.After(hangEvery)
		kind, _ = f.illness()
	}
	if kind == "fsync-error" {
		return errFsync
	}
	return nil
}

func (f *illFS) write() error {
	if kind, _ := f.illness(); kind == "write-error" {
		return errWrite
	}
	return nil
}

func (f *illFS) file(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &illFile{File: file, fs: f}, nil
}

func (f *illFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.write(); err != nil {
		return nil, err
	}
	return f.file(f.FS.Create(name, c))
}

func (f *illFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.FS.OpenReadWrite(name, c, opts...))
}

func (f *illFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(f.FS.ReuseForWrite(oldname, newname, c))
}

func (f *illFS) OpenDir(name string) (vfs.File, error) { return f.file(f.FS.OpenDir(name)) }

// Unwrap is for Pebble's diagnostics.
func (f *illFS) Unwrap() vfs.FS { return f.FS }

type illFile struct {
	vfs.File
	fs *illFS
}

func (f *illFile) Write(p []byte) (int, error) {
	if err := f.fs.write(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *illFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.write(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *illFile) Sync() error {
	if err := f.fs.sync(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *illFile) SyncData() error {
	if err := f.fs.sync(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *illFile) SyncTo(length int64) (bool, error) {
	if err := f.fs.sync(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
