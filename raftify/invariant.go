package raftify

import "fmt"

// invariant panics when our own code broke a promise. It never judges input.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("raftify: invariant broken: "+format, args...))
	}
}
