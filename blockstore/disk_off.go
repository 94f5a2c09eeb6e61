//go:build !faults

package blockstore

import "github.com/cockroachdb/pebble/v2/vfs"

// disk returns the file system of this machine.
func disk() vfs.FS { return vfs.Default }
