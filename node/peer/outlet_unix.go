//go:build unix

package peer

import (
	"errors"
	"fmt"
	"syscall"
)

// writeAtOnce gives the socket as much of p as it has room for.
func writeAtOnce(raw syscall.RawConn, p []byte) (n int, err error) {
	ended := raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), p)
			if !errors.Is(err, syscall.EINTR) {
				return true // also if there is no room: nobody waits for it here
			}
		}
	})
	n = max(n, 0)
	switch {
	case ended != nil:
		return 0, fmt.Errorf("write: %w", ended)
	case err != nil && !errors.Is(err, syscall.EAGAIN):
		return n, fmt.Errorf("write: %w", err)
	}
	return n, nil
}
