package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What `make run` does, with its own report judged.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	r := command(t, "demo", "--json", "--duration", "3s", "--kills", "2", "--clients", "6", "--dir", dir)
	if err := r.wait(t); err != nil {
		t.Fatalf("%v: %s\n%s", err, r.stderr.String(), r.text())
	}
	var got Report
	dec := json.NewDecoder(strings.NewReader(r.text()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	tx := got.Transactions
	t.Logf("%d acknowledged, latency %+v, failovers %+v, other leader changes %d, log errors %q",
		tx.Acknowledged, got.LatencyMs, got.Failovers, got.LeaderChangesWithoutFault, got.LogErrors)
	if !got.OK || len(got.Problems) > 0 || !got.OneChain || !got.MoneyConserved || !got.NoncesAgree || !got.FoldersGood {
		t.Errorf("report is not good: %+v", got)
	}
	if tx.Lost+tx.Duplicated+tx.Misplaced+tx.Strangers != 0 || tx.Acknowledged < 6 || tx.PerSecond <= 0 {
		t.Errorf("transactions: %+v", tx)
	}
	if l := got.LatencyMs; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
		t.Errorf("latencies: %+v", l)
	}
	if len(got.Failovers) != 2 {
		t.Fatalf("failovers: %+v", got.Failovers)
	}
	var killed []string
	for _, f := range got.Failovers {
		killed = append(killed, f.Killed)
		if f.Killed == f.Leader && f.GapMs < 1000 { // on a machine that stands still it may be back before another one leads
			t.Errorf("%s was killed and led again at once: %+v", f.Killed, f)
		}
		if f.GapMs <= 0 || f.GapMs > 60_000 || f.LeaderMs > f.GapMs || f.PauseMs > got.LongestPauseMs {
			t.Errorf("failover: %+v, longest pause %v ms", f, got.LongestPauseMs)
		}
	}
	if len(got.Chains) != 3 {
		t.Fatalf("chains: %+v", got.Chains)
	}
	for _, c := range got.Chains {
		if c.TipHash != got.Chains[0].TipHash || c.StateRoot != got.Chains[0].StateRoot || c.Height == 0 ||
			c.Transactions != tx.Acknowledged || c.Signatures != int(c.Height) {
			t.Errorf("chain: %+v", c)
		}
	}
	var events strings.Builder
	for _, e := range got.Events {
		events.WriteString(e.Text + "\n")
	}
	for _, id := range killed {
		if !strings.Contains(events.String(), "kill -9 "+id) || !strings.Contains(events.String(), id+" started again") {
			t.Errorf("events do not tell of the kill of %s:\n%s", id, events.String())
		}
	}
	if got.Dir != dir {
		t.Errorf("folder is %q, want %q", got.Dir, dir)
	}
	assertNoRace(t, dir, 3)
}

// What a person sees, without a terminal: plain lines, no colours, and no files left.
func TestDemoForPeople(t *testing.T) {
	r := command(t, "demo", "--duration", "500ms", "--kills", "0", "--clients", "3")
	if err := r.wait(t); err != nil {
		t.Fatalf("%v: %s\n%s", err, r.stderr.String(), r.text())
	}
	text := r.text()
	for _, want := range []string{"node3 started: pid ", " leads, term ", "0 lost", "0 duplicated", "one chain    yes", "Nothing that was acknowledged was lost."} {
		if !strings.Contains(text, want) {
			t.Errorf("output lacks %q:\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b\r") || r.stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", text, r.stderr.String())
	}
	r.assertEmpty(t)
}

func TestInterruptLeavesNothing(t *testing.T) {
	r := command(t, "demo", "--duration", "1h")
	pids := r.awaitTraffic(t)
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.assertFailed(t, "interrupted")
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	r.assertEmpty(t)
}

func TestDeathOfANodeIsReported(t *testing.T) {
	r := command(t, "demo", "--duration", "1h")
	pids := r.awaitTraffic(t)
	if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.assertFailed(t, "node2 (pid "+strconv.Itoa(pids[1])+") ended unexpectedly: signal: killed; its log ends with: ")
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	if kept, err := filepath.Glob(filepath.Join(r.tmp, "baton-demo-*", "node2", "log")); err != nil || len(kept) != 1 {
		t.Errorf("the logs are not kept: %v, %v", kept, err)
	}
}

func TestPortThatIsTaken(t *testing.T) {
	base, err := findPorts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	taken := net.JoinHostPort(loopback, strconv.Itoa(base+12))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // of a test
	r := command(t, "demo", "--base-port", strconv.Itoa(base))
	r.assertFailed(t, "port "+strconv.Itoa(base+12)+" is in use")
}

// output is what a command has printed so far.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// running is a baton command under a test, with a temporary folder of its own.
type running struct {
	cmd    *exec.Cmd
	tmp    string
	stdout output
	stderr bytes.Buffer
	ended  chan struct{}
	err    error // once ended
}

func command(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(binary, args...), tmp: t.TempDir(), ended: make(chan struct{})} //nolint:noctx // killed at the end
	r.stdout.changed = make(chan struct{})
	r.cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp)
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
	})
	return r
}

func (r *running) text() string {
	text, _ := r.stdout.read()
	return text
}

// wait returns how the command ended.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(4 * patience):
		t.Fatalf("baton did not end; it printed:\n%s", r.text())
		return nil
	}
}

var startedLine = regexp.MustCompile(`node\d started: pid (\d+)`)

// awaitTraffic returns the nodes' process ids once payments are made.
func (r *running) awaitTraffic(t *testing.T) (pids []int) {
	t.Helper()
	late := time.After(patience)
	for {
		text, changed := r.stdout.read()
		if strings.Contains(text, "accounts pay each other") {
			for _, m := range startedLine.FindAllStringSubmatch(text, -1) {
				pid, err := strconv.Atoi(m[1])
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			if len(pids) != 3 {
				t.Fatalf("process ids are %v:\n%s", pids, text)
			}
			return pids
		}
		select {
		case <-changed:
		case <-r.ended:
			t.Fatalf("%v: %s\n%s", r.err, r.stderr.String(), text)
		case <-late:
			t.Fatalf("no payments were made:\n%s", text)
		}
	}
}

// assertFailed checks that the command ends with status 1 and one line on stderr.
func (r *running) assertFailed(t *testing.T, want string) {
	t.Helper()
	err := r.wait(t)
	if r.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	text := r.stderr.String()
	if !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
		t.Errorf("stderr is %q, want one line with %q", text, want)
	}
}

// assertEmpty checks that the command left no files.
func (r *running) assertEmpty(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(r.tmp)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
