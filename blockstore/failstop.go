package blockstore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failstop is a file system that dies at its first failed write, sync or creation. It reports the error, and from then
// on whoever writes through it never gets an answer. So nothing above can retry (a failed fsync may have dropped the
// pages that a second one would then call durable, R24), nothing more reaches the disk, and Pebble, which ends the
// process when it cannot rotate its log, does not get the chance. Reads go on.
//
// The price is that goroutines of a failed store stay parked; its process is expected to end.
type failstop struct {
	vfs.FS
	report func(error)
	failed <-chan struct{} // closed after the first report
}

// check returns if the operation went well and nothing failed before; otherwise never.
func (f *failstop) check(err error) {
	if err != nil {
		f.report(err)
	}
	select {
	case <-f.failed:
		select {}
	default:
	}
}

func (f *failstop) file(file vfs.File, err error) (vfs.File, error) {
	f.check(err)
	return &failstopFile{File: file, fs: f}, nil
}

// Create also syncs the folder when it makes a manifest. Pebble points its marker to a new manifest before it syncs the
// folder, once for both; a crash that keeps the marker's entry and not the manifest's would leave a folder that nobody
// can open.
func (f *failstop) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.file(f.FS.Create(name, c))
	if strings.HasPrefix(f.PathBase(name), "MANIFEST-") {
		f.check(syncFolder(f.FS, f.PathDir(name)))
	}
	return file, err
}

func (f *failstop) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.FS.OpenReadWrite(name, c, opts...))
}

func (f *failstop) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(f.FS.ReuseForWrite(oldname, newname, c))
}

// OpenDir may fail, as any read may: the folder need not be there.
func (f *failstop) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &failstopFile{File: dir, fs: f}, nil
}

func (f *failstop) Link(oldname, newname string) error {
	f.check(f.FS.Link(oldname, newname))
	return nil
}

func (f *failstop) Rename(oldname, newname string) error {
	f.check(f.FS.Rename(oldname, newname))
	return nil
}

// Unwrap is for Pebble's diagnostics.
func (f *failstop) Unwrap() vfs.FS { return f.FS }

type failstopFile struct {
	vfs.File
	fs *failstop
}

func (f *failstopFile) Write(p []byte) (int, error) {
	f.fs.check(nil)
	n, err := f.File.Write(p)
	f.fs.check(err)
	return n, nil
}

func (f *failstopFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.check(nil)
	n, err := f.File.WriteAt(p, off)
	f.fs.check(err)
	return n, nil
}

func (f *failstopFile) Sync() error {
	f.fs.check(nil)
	f.fs.check(f.File.Sync())
	return nil
}

func (f *failstopFile) SyncData() error {
	f.fs.check(nil)
	f.fs.check(f.File.SyncData())
	return nil
}

func (f *failstopFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	f.fs.check(err)
	return full, nil
}

func (f *failstopFile) Close() error {
	f.fs.check(f.File.Close())
	return nil
}
