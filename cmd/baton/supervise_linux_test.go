package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
)

// patience bounds every wait for what a healthy machine does in a moment.
const patience = 2 * time.Minute

// awaitStatus polls a node's status until ok holds.
func awaitStatus(t *testing.T, url, what string, ok func(wire.Status) bool) wire.Status {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		var st wire.Status
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&st)
			_ = resp.Body.Close()
		}
		if err == nil && ok(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never came: %s (%v, %+v)", what, err, st)
		}
	}
}

// manager hears what a service manager is told. It takes everything at once, as a real one does: a socket that nobody reads
// soon holds up whoever writes.
type manager struct{ said chan string }

// playManager takes the service manager's part for what is started from now on.
func playManager(t *testing.T) manager {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := manager{make(chan string, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 1500); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.said <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	t.Setenv("NOTIFY_SOCKET", socket)
	return m
}

// told waits for a message that is it.
func (m manager) told(t *testing.T, want string, is func(said string) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case said := <-m.said:
			if is(said) {
				return
			}
		case <-late:
			t.Fatalf("the service manager was not told %q", want)
		}
	}
}

// A supervised node is two processes; the worker may be killed, and the service manager hears how it is.
func TestSupervisedRun(t *testing.T) {
	host := ownHost()
	dir, conf := cluster(t, "--nodes", "1", "--hosts", host)
	url := at(host)
	manager := playManager(t)

	node := start(t, conf)
	leads := func(st wire.Status) bool { return st.State == wire.StateLeader }
	first := awaitStatus(t, url, "it leads", leads)
	if first.SupervisorPID != os.Getpid() || first.PID == os.Getpid() || first.PID == 0 {
		t.Errorf("pid %d, supervisor %d, this is %d", first.PID, first.SupervisorPID, os.Getpid())
	}
	said := func(want string) {
		t.Helper()
		manager.told(t, want, func(said string) bool { return said == want })
	}
	said("READY=1")
	said("WATCHDOG=1")
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := awaitStatus(t, url, "it leads again", func(st wire.Status) bool { return leads(st) && st.PID != first.PID })
	if second.SupervisorPID != os.Getpid() || second.Term <= first.Term {
		t.Errorf("after %+v: %+v", first, second)
	}
	mustHave(t, refused(t, "run", "--config", conf), filepath.Join(dir, "node1/data"), "in use")
	code, log := node.wait(t)
	if code != 0 || strings.Contains(log, "baton:") || !strings.Contains(log, "the worker died") {
		t.Errorf("status %d, log:\n%s", code, log)
	}
	said("STOPPING=1")
}

// Whoever kills the supervisor gets rid of the worker too, and may start the node again at once.
func TestWorkerEndsWithItsSupervisor(t *testing.T) {
	host := ownHost()
	_, conf := cluster(t, "--nodes", "1", "--hosts", host)
	url := at(host)
	before := 0
	for range 2 {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), os.Args[0], "run", "--config", conf)
		cmd.Stdout, cmd.Stderr = nil, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		st := awaitStatus(t, url, "it leads", func(st wire.Status) bool { return st.State == wire.StateLeader && st.PID != before })
		if st.SupervisorPID != cmd.Process.Pid {
			t.Errorf("supervisor is %d, want %d", st.SupervisorPID, cmd.Process.Pid)
		}
		before = st.PID
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the worker has the other end of stderr: this is its end too
		mustHave(t, stderr.String(), "handing leadership over first")
	}
	good(t, "block", "verify", "--config", conf)
}

func TestRunWithoutSupervisor(t *testing.T) {
	host := ownHost()
	_, conf := cluster(t, "--nodes", "1", "--hosts", host)
	node := start(t, conf, "--no-supervise")
	st := awaitStatus(t, at(host), "it leads", func(st wire.Status) bool { return st.State == wire.StateLeader })
	if st.PID != os.Getpid() || st.SupervisorPID != 0 {
		t.Errorf("pid %d, supervisor %d, this is %d", st.PID, st.SupervisorPID, os.Getpid())
	}
	if code, log := node.wait(t); code != 0 {
		t.Errorf("status %d, log:\n%s", code, log)
	}
}
