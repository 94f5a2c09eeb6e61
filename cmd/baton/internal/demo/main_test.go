package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/client"
)

// binary is the baton that the tests run, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "baton-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "baton")
	args := []string{"build", "-o", binary}
	if raceFlag {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(context.Background(), "go", append(args, "github.com/baton-ha/baton/cmd/baton")...).CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build baton: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// rig is a running cluster under a test, with a watcher and a traffic that has not begun.
type rig struct {
	*testing.T
	ctx context.Context
	c   *cluster
	w   *watcher
	t   *traffic
}

// newRig raises a cluster of three nodes. Everything ends with the test, and the nodes' logs are looked at.
func newRig(t *testing.T, users int) *rig {
	t.Helper()
	return newRigOf(t, 3, users)
}

// newRigOf is newRig with another number of nodes.
func newRigOf(t *testing.T, nodes, users int) *rig {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &run{
		opts:   Options{Binary: binary, Nodes: nodes, Clients: users},
		screen: &Screen{Out: testWriter{t}}, report: &Report{}, dir: t.TempDir(),
	}
	r.screen.begin()
	if err := r.raise(ctx); err != nil {
		cancel(nil)
		t.Fatal(err)
	}
	w, join, err := r.c.watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	traffic, err := r.c.newTraffic()
	if err != nil {
		t.Fatal(err)
	}
	died := make(chan struct{})
	go func() {
		defer close(died)
		select {
		case err := <-r.c.died:
			t.Error(err)
			cancel(err)
		case <-ctx.Done():
		}
	}()
	t.Cleanup(func() {
		cancel(nil)
		traffic.finish()
		join()
		<-died
		r.c.close()
		for _, line := range r.c.complaints(maxProblems) {
			t.Log(line)
		}
		assertNoRace(t, r.dir, nodes)
	})
	return &rig{T: t, ctx: ctx, c: r.c, w: w, t: traffic}
}

// assertNoRace looks for reports of the race detector in the logs of the nodes under dir.
func assertNoRace(t *testing.T, dir string, nodes int) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "node*", "log"))
	if err != nil || len(logs) != nodes {
		t.Errorf("logs are %v, %v", logs, err)
	}
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		assertCleanLog(t, path, string(data))
	}
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		if cause := context.Cause(r.ctx); cause != nil {
			err = cause
		}
		r.Fatal(err)
	}
}

// awaitAcks returns when n more payments than now have been acknowledged.
func (r *rig) awaitAcks(n int64) {
	r.Helper()
	want := r.t.count.Load() + n
	r.ok(r.w.wait(r.ctx, fmt.Sprintf("%d acknowledged payments", want), func(map[string]view) bool {
		return r.t.count.Load() >= want
	}))
}

// awaitHigher returns when some node has spoken of more than a height.
func (r *rig) awaitHigher(h client.Height) {
	r.Helper()
	r.ok(r.w.wait(r.ctx, fmt.Sprintf("a height above %d", h), func(views map[string]view) bool {
		for _, v := range views {
			if v.err == nil && v.status.Height > h {
				return true
			}
		}
		return false
	}))
}

// awaitFirst returns how long after a time the first payment that was sent after it was acknowledged.
func (r *rig) awaitFirst(after time.Time, acked <-chan time.Time) time.Duration {
	r.Helper()
	select {
	case at := <-acked:
		return at.Sub(after)
	case <-time.After(patience):
		r.Fatalf("nothing was acknowledged within %v; %s", patience, r.w)
	case <-r.ctx.Done():
		r.Fatal(context.Cause(r.ctx))
	}
	return 0
}

// settle ends the traffic, waits until all nodes are level and audits them. Nothing may be wrong.
func (r *rig) settle() *verdict {
	r.Helper()
	r.t.finish()
	r.ok(r.t.errs())
	r.ok(r.w.awaitLevel(r.ctx, time.Now()))
	v, err := r.c.audit(r.ctx, r.t)
	r.ok(err)
	if len(v.problems) > 0 || !v.oneChain {
		r.Errorf("one chain: %v; problems: %q", v.oneChain, v.problems)
	}
	for _, c := range v.chains {
		if int64(c.Transactions) != r.t.count.Load() || c.Signatures != int(c.Height) {
			r.Errorf("%s has %d transactions and %d signatures at height %d, clients have %d receipts",
				c.ID, c.Transactions, c.Signatures, c.Height, r.t.count.Load())
		}
	}
	if _, both := r.w.led(); len(both) > 0 {
		r.Errorf("%q", both)
	}
	return v
}

// testWriter writes into a test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}
