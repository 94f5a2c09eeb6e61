package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 1600, 1 << 20: 1600, 4 << 20: 1600, 16 << 20: 400, 64 << 20: 100, 65 << 20: 100, 1 << 40: 100,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes alive: %d %%, want %d", live, got, want)
		}
	}
}

// The percentage follows the heap from one collection to the next.
func TestHeadroomFollowsTheHeap(t *testing.T) {
	if old, set := os.LookupEnv("GOGC"); set {
		t.Setenv("GOGC", old) // puts it back
		if err := os.Unsetenv("GOGC"); err != nil {
			t.Fatal(err)
		}
	}
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	reaches := func(what string, ok func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			runtime.GC()
			percent := debug.SetGCPercent(100)
			debug.SetGCPercent(percent)
			if ok(percent) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %%", what, percent)
			}
			runtime.Gosched()
		}
	}
	keepHeadroom()
	reaches("small heap", func(p int) bool { return p > 150 })
	large := make([]byte, 128<<20)
	reaches("large heap", func(p int) bool { return p == 100 })
	runtime.KeepAlive(large)
	reaches("small heap again", func(p int) bool { return p > 150 })
}
