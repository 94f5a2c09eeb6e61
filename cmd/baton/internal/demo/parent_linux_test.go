package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Even a demo that is killed takes its nodes with it.
func TestNodesDieWithTheDemo(t *testing.T) {
	r := command(t, "demo", "--duration", "1h")
	pids := r.awaitTraffic(t)
	for _, pid := range pids {
		pids = append(pids, childrenOf(t, pid)...)
	}
	if len(pids) != 6 {
		t.Fatalf("processes %v: want three supervisors and three workers", pids)
	}
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.ended
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("process %d is still there", pid)
			}
		}
	}
}

// childrenOf returns the processes that pid started.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent, child int
		_, rest, _ := bytes.Cut(text, []byte(") "))
		if _, err := fmt.Sscan(string(rest), &state, &parent); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := fmt.Sscan(string(text), &child); err == nil && parent == pid {
			children = append(children, child)
		}
	}
	return children
}

// alive reports whether a process runs. One that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(state, []byte("Z")) && !bytes.HasPrefix(state, []byte("X"))
}
