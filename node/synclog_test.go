package node

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
)

// A node that catches up block by block says so at once, once a second, and at the end.
func TestSyncLog(t *testing.T) {
	var out bytes.Buffer
	s := syncLog{log: zerolog.New(&out)}
	at := time.Unix(1000, 0)
	step := func(h block.Height, lines int) {
		t.Helper()
		s.synced(replication.Ref{Height: h}, 3, at)
		if got := strings.Count(out.String(), "\n"); got != lines {
			t.Fatalf("block %d: %d lines, want %d:\n%s", h, got, lines, &out)
		}
	}
	s.appended()
	step(1, 1)
	s.appended()
	for h := range block.Height(1000) {
		at = at.Add(4 * time.Millisecond)
		step(h+2, 1+int(4*(h+1)/1000))
	}
	at = at.Add(4 * time.Millisecond)
	step(1002, 5)
	s.appended()
	s.appended()
	if got := strings.Count(out.String(), "\n"); got != 6 || !strings.Contains(out.String(), `"records":250`) {
		t.Errorf("%d lines:\n%s", got, &out)
	}
	s.synced(replication.Ref{Height: 1003}, 4, at)
	if got := strings.Count(out.String(), "\n"); got != 7 {
		t.Errorf("no line for another term:\n%s", &out)
	}
}
