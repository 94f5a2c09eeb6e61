package supervise

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// script is set in the environment of workers that these tests start: what each of them does in turn, comma between
// them. A word with a plus does the parts in turn.
const (
	script  = "TEST_WORKER_SCRIPT"
	counter = "TEST_WORKER_COUNTER" // a file with a byte for each worker so far
	target  = "TEST_WORKER_TARGET"
)

const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if acts := os.Getenv(script); acts != "" {
		os.Exit(work(strings.Split(acts, ",")))
	}
	m.Run()
}

// work is a worker.
func work(acts []string) int {
	f, err := os.OpenFile(os.Getenv(counter), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return 90
	}
	before, err := os.ReadFile(f.Name())
	if err != nil || len(before) >= len(acts) {
		return 91
	}
	if _, err := f.WriteString("x"); err != nil {
		return 92
	}
	p, err := Attach(func() { os.Exit(93) })
	if err != nil {
		return 94
	}
	for act := range strings.SplitSeq(acts[len(before)], "+") {
		err := error(nil)
		switch {
		case strings.HasPrefix(act, "hello:"):
			err = errors.Join(p.Hello(Hello{Notice: []byte(act[len("hello:"):]), LogLevel: "warn", LogFormat: "json"}),
				p.Targets([]string{os.Getenv(target)}))
		case act == "ready":
			err = errors.Join(p.Ready(), p.Turned())
		case act == "stop":
			<-p.Context(context.Background()).Done()
			err = p.Stopping()
		case act == "nonsense":
			_, err = p.out.Write([]byte("nonsense\n"))
		case act == "killed":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case act == "fails":
			return 1
		case act == "panics":
			return 2
		}
		if err != nil {
			return 95
		}
	}
	return 0
}

// rig is a supervisor under a test, and a node that hears its notices.
type rig struct {
	*testing.T
	heard  net.PacketConn
	cancel context.CancelFunc
	ended  chan int
	count  string

	mu     sync.Mutex
	states []string
	log    bytes.Buffer
}

// Write makes rig the log of its supervisor.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func start(t *testing.T, acts ...string) *rig {
	t.Helper()
	heard, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{T: t, heard: heard, cancel: cancel, ended: make(chan int, 1), count: filepath.Join(t.TempDir(), "count")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		status, err := Run(ctx, Options{
			Command: []string{os.Args[0]}, Stdout: os.Stderr, Stderr: os.Stderr,
			Env:    []string{script + "=" + strings.Join(acts, ","), counter + "=" + r.count, target + "=" + heard.LocalAddr().String()},
			Logger: func(string, string) zerolog.Logger { return zerolog.New(r) },
			Notify: func(state string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.states = append(r.states, state)
			},
		})
		if err != nil {
			t.Error(err)
		}
		r.ended <- status
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = heard.Close()
	})
	return r
}

// hear returns the next notice that is none of those.
func (r *rig) hear(but ...string) string {
	r.Helper()
	if err := r.heard.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.Fatal(err)
	}
	for {
		got, err := r.read()
		if err != nil {
			r.Fatalf("no notice but %q: %v", but, err)
		}
		if !slices.Contains(but, got) {
			return got
		}
	}
}

func (r *rig) read() (string, error) {
	buf := make([]byte, 1500)
	n, _, err := r.heard.ReadFrom(buf)
	return string(buf[:n]), err
}

// workers is how many workers there were so far.
func (r *rig) workers() int {
	r.Helper()
	x, err := os.ReadFile(r.count)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	return len(x)
}

// end waits for the supervisor's end and checks its status and how many workers there were.
func (r *rig) end(status, workers int) {
	r.Helper()
	select {
	case got := <-r.ended:
		if got != status {
			r.Errorf("ended with status %d, want %d; log: %s", got, status, r.log.String())
		}
	case <-time.After(patience):
		r.Fatal("the supervisor does not end")
	}
	if n := r.workers(); n != workers {
		r.Errorf("%d workers were started, want %d", n, workers)
	}
}

// A worker that is killed is told of and started again; the notice is that of the one that died.
func TestDeathIsToldAndTheWorkerIsBack(t *testing.T) {
	r := start(t, "hello:first+killed", "hello:second+panics", "hello:third+ready+stop")
	if got := r.hear(""); got != "first" {
		t.Errorf("heard %q", got)
	}
	if got := r.hear("first"); got != "second" {
		t.Errorf("heard %q after the first", got)
	}
	r.until("the third serves", func() bool { return slices.Contains(r.states, "READY=1") })
	r.cancel()
	r.end(0, 3)
	if want := []string{"READY=1", "WATCHDOG=1", "STOPPING=1"}; !slices.Equal(r.states, want) {
		t.Errorf("the service manager was told %q, want %q", r.states, want)
	}
	if got := r.hear("first", "second"); got != "third" { // it has ended as well: that is as true
		t.Errorf("heard %q after the second", got)
	}
	if n := strings.Count(r.log.String(), "the worker died"); n != 2 {
		t.Errorf("log tells of %d deaths: %s", n, r.log.String())
	}
}

// TestSchedule29OnlyOfThisVeryChild: a supervisor says nothing of a child that it did not have the notice of, not even
// what it had of the child before.
func TestSchedule29OnlyOfThisVeryChild(t *testing.T) {
	r := start(t, "hello:first+killed", "killed", "killed", "hello:fourth+killed", "stop")
	r.until("the last one runs", func() bool { return r.workers() == 5 })
	r.cancel()
	r.end(0, 5)
	if err := r.heard.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for told["fourth"] == 0 {
		got, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		told[got]++
	}
	if told["first"] == 0 || told["first"] > len(again) || len(told) != 2 {
		t.Errorf("told %v, want the first %d times at most", told, len(again))
	}
}

// until polls a condition, under the lock.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			r.Fatalf("never came: %s", what)
		}
	}
}

// What a worker says by its exit status is passed on, and nothing is started again.
func TestWorkerThatEndsByItself(t *testing.T) {
	for _, tt := range []struct {
		act    string
		status int
	}{{"hello:x", 0}, {"fails", 1}, {"hello:x+fails", 1}, {"panics", 2}} {
		t.Run(tt.act, func(t *testing.T) {
			r := start(t, tt.act)
			r.end(tt.status, 1)
			if len(r.states) > 0 {
				t.Errorf("the service manager was told %q", r.states)
			}
		})
	}
}

// A worker that is not understood goes on, and its death is still told.
func TestNonsenseIsNotBelieved(t *testing.T) {
	r := start(t, "hello:first+nonsense+ready+killed", "stop")
	if got := r.hear(""); got != "first" {
		t.Errorf("heard %q", got)
	}
	r.until("it is back", func() bool { return r.workers() == 2 })
	r.cancel()
	r.end(0, 2)
	if !strings.Contains(r.log.String(), errBadLine.Error()) {
		t.Errorf("log: %s", r.log.String())
	}
}

func TestLinesAreBounded(t *testing.T) {
	got := 0
	err := readMessages(strings.NewReader("{}\n{\"ready\":true}\n"), func(message) { got++ })
	if err != nil || got != 2 {
		t.Errorf("%d messages, %v", got, err)
	}
	err = readMessages(strings.NewReader(`{"targets":["`+strings.Repeat("x", maxLineBytes)), func(message) { t.Error("accepted") })
	if err == nil {
		t.Error("a line without end was read")
	}
}
