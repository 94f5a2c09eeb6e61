//go:build !unix

package peer

import "syscall"

// writeAtOnce takes nothing: the connection's writer does it all.
func writeAtOnce(syscall.RawConn, []byte) (int, error) { return 0, nil }
