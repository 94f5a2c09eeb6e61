package demo

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"
)

// Even a demo that is killed takes its nodes with it.
func TestNodesDieWithTheDemo(t *testing.T) {
	r := command(t, "demo", "--duration", "1h")
	pids := r.awaitTraffic(t)
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

// alive reports whether a process runs. One that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(state, []byte("Z")) && !bytes.HasPrefix(state, []byte("X"))
}
