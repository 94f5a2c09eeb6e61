package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// asProgram makes the test's own binary run the program instead of the tests.
const asProgram = "RAFTIFY_EXAMPLE_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen in the end.
const patience = 3 * time.Minute

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !cond() {
		select {
		case <-poll.C:
		case <-limit.C:
			t.Fatalf("never came: %s", what)
		}
	}
}

// cluster is three processes.
type cluster struct {
	t   *testing.T
	dir string
	ids []string
	run map[string]*exec.Cmd
	log map[string]*bytes.Buffer
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), ids: []string{"a", "b", "c"}, run: map[string]*exec.Cmd{}, log: map[string]*bytes.Buffer{}}
	// An address of loopback of this test's own: nobody else has a port there.
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), rand.IntN(250), 1+rand.IntN(250))
	const firstPort = 7000
	var list []string
	for i, id := range c.ids {
		list = append(list, fmt.Sprintf("%s@%s:%d", id, host, firstPort+i))
	}
	for i, id := range c.ids {
		text, err := json.Marshal(map[string]any{
			"id": id, "max_nodes": 3, "expect": 3, "encrypt": strings.Repeat("5c", 32), "performance": 2, "log_level": "INFO",
			"bind_addr": host, "bind_port": firstPort + i, "peer_list": list,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(id, "json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, id := range c.ids {
			c.kill(id)
		}
		if t.Failed() {
			for _, id := range c.ids {
				t.Logf("%s said\n%s", id, c.log[id])
			}
		}
	})
	return c
}

func (c *cluster) path(id, ext string) string { return filepath.Join(c.dir, id+"."+ext) }

func (c *cluster) start(id string) {
	c.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(exe, "-config", c.path(id, "json"), "-data", c.path(id, "data"), "-out", c.path(id, "out")) //nolint:noctx // killed by hand
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if c.log[id] == nil {
		c.log[id] = &bytes.Buffer{}
	}
	cmd.Stderr = c.log[id]
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.run[id] = cmd
}

// kill ends a process as a power cut would.
func (c *cluster) kill(id string) {
	if cmd := c.run[id]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		delete(c.run, id)
	}
}

func (c *cluster) lines(id string) (out []line) {
	c.t.Helper()
	b, err := os.ReadFile(c.path(id, "out"))
	if err != nil {
		return nil
	}
	for _, text := range bytes.SplitAfter(b, []byte("\n")) {
		var l line
		if bytes.HasSuffix(text, []byte("\n")) { // the last one may be half written
			if err := json.Unmarshal(text, &l); err != nil {
				c.t.Errorf("%s wrote %q: %v", id, text, err)
			}
			out = append(out, l)
		}
	}
	return out
}

// runner waits until a process has done some steps since now, and returns it.
func (c *cluster) runner() (id string) {
	c.t.Helper()
	before := map[string]int{}
	for _, i := range c.ids {
		before[i] = len(c.lines(i))
	}
	eventually(c.t, "somebody runs the job", func() bool {
		for _, i := range c.ids {
			if len(c.lines(i)) >= before[i]+5 {
				id = i
				return true
			}
		}
		return false
	})
	return id
}

// judge demands that no two processes ever held a lease at one instant, and that terms grow with time.
func (c *cluster) judge() {
	c.t.Helper()
	var all []line
	for _, id := range c.ids {
		all = append(all, c.lines(id)...)
	}
	if err := overlap(all); err != "" {
		c.t.Error(err)
	}
}

// overlap says which two claims of a sequence exclude each other, "" if none do. A lease that was given up for a handover,
// before it had run out, is claimed no longer than until the last step that it was used for.
func overlap(all []line) string {
	slices.SortStableFunc(all, func(x, y line) int { return int(x.At - y.At) })
	type lead struct {
		id   core.NodeID
		term core.Term
	}
	last, ended := map[lead]line{}, map[lead]bool{}
	var steps []line
	for _, x := range all {
		k := lead{x.ID, x.Term}
		if !x.End {
			last[k] = x
			steps = append(steps, x)
		} else if x.At < last[k].Until {
			ended[k] = true
		}
	}
	for i, x := range steps {
		until := x.Until
		if k := (lead{x.ID, x.Term}); ended[k] {
			until = min(until, last[k].At)
		}
		for _, y := range steps[i+1:] {
			if y.Term < x.Term {
				return fmt.Sprintf("%s acts in term %d after %s did in term %d", y.ID, y.Term, x.ID, x.Term)
			}
			if x.ID != y.ID && y.At < until {
				return fmt.Sprintf("%s in term %d holds until %d, and %s in term %d acts at %d", x.ID, x.Term, until, y.ID, y.Term, y.At)
			}
			if y.At > until {
				break
			}
		}
	}
	return ""
}

// TestOverlapIsNoticed: the judge can find somebody guilty.
func TestOverlapIsNoticed(t *testing.T) {
	good := []line{{ID: "a", Term: 1, At: 0, Until: 10}, {ID: "a", Term: 1, At: 5, Until: 15}, {ID: "b", Term: 2, At: 15, Until: 20}}
	if s := overlap(good); s != "" {
		t.Error(s)
	}
	if overlap(append(good, line{ID: "c", Term: 3, At: 14, Until: 15})) == "" {
		t.Error("two at a time, and nobody notices")
	}
	early := []line{{ID: "a", Term: 1, At: 0, Until: 10}, {ID: "b", Term: 2, At: 4, Until: 14}}
	if overlap(slices.Clone(early)) == "" {
		t.Error("a lease that is not over, and nobody notices")
	}
	if s := overlap(append(early, line{ID: "a", Term: 1, At: 5, Until: 5, End: true})); s != "" {
		t.Errorf("a handover: %s", s)
	}
	if overlap(append(good, line{ID: "b", Term: 1, At: 16, Until: 17})) == "" {
		t.Error("a term that falls, and nobody notices")
	}
}

// TestOneRunsTheJob: real processes, of which the runner is killed, stopped and asked to go; never two at a time.
func TestOneRunsTheJob(t *testing.T) {
	c := newCluster(t)
	for _, id := range c.ids {
		c.start(id)
	}
	first := c.runner()

	c.kill(first)
	second := c.runner()
	if second == first {
		t.Fatalf("%s runs the job and is dead", first)
	}
	c.start(first)

	// Stopped, it cannot know that its time is over; when it goes on, it must.
	third := c.runner()
	if err := c.run[third].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	fourth := c.runner()
	if fourth == third {
		t.Fatalf("%s runs the job and is stopped", third)
	}
	if err := c.run[third].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	// Told to end, it hands over and ends well.
	fifth := c.runner()
	if err := c.run[fifth].Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.run[fifth].Wait(); err != nil {
		t.Errorf("%s was told to end: %v", fifth, err)
	}
	delete(c.run, fifth)
	c.runner()
	for _, id := range c.ids {
		c.kill(id)
	}
	c.judge()
}
