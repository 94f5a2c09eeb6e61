//go:build !unix

package raftify

import "os"

// lockFile does nothing where there is no flock: the operator must not start a node twice.
func lockFile(*os.File) error { return nil }
