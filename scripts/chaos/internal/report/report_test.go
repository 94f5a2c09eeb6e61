package report

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
	"github.com/baton-ha/baton/scripts/chaos/internal/nemesis"
)

// failed is a run with one broken check, whose text tries to break out of the page.
func failed() *Result {
	v := judge.NewVerdict("one chain", "I8")
	v.Fail("I8: block 7 </script><b>is two")
	r := &Run{
		Nodes: 3, Verdicts: []*judge.Verdict{v},
		Faults: []nemesis.Injected{{Kind: "kill-leader", Class: nemesis.Process, Start: 1, End: 3, Whole: 3.5, Majority: true}},
	}
	var ops []load.Op
	for _, at := range []time.Duration{200, 900, 1100, 2600, 3100, 3900} {
		ops = append(ops, load.Op{Kind: load.Transfer, Outcome: load.Done, Call: (at - 50) * time.Millisecond, Return: at * time.Millisecond})
	}
	r.Measure(ops, 4*time.Second, []nemesis.Kind{{Name: "kill-leader", Class: nemesis.Process}, {Name: "blackout", Class: nemesis.Network}})
	r.Judge()
	return &Result{Clusters: []*Run{r}}
}

func TestMeasure(t *testing.T) {
	r := failed().Clusters[0]
	if r.OK || r.Acknowledged != 6 || r.Seconds[0].Acks != 2 || r.Seconds[1].Acks != 1 || r.P50 != 50 {
		t.Errorf("%+v", r)
	}
	if f := r.Faults[0]; f.Gap < 1.49 || f.Gap > 1.51 {
		t.Errorf("the pause of the fault is %v s, want 1.5", f.Gap)
	}
	if k := r.Kinds[0]; k.Count != 1 || k.GapWorst != r.Faults[0].Gap || k.LostMajority != 0 || r.Kinds[1].Count != 0 {
		t.Errorf("%+v", r.Kinds)
	}
}

// The summary that is kept says what was run, where, and what was found.
func TestSummary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.md")
	r := failed()
	r.Command, r.Machine = "baton-chaos --seed 7", "2 cores"
	if err := r.WriteSummary(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"`baton-chaos --seed 7`", "2 cores", "NOT WELL", "## 3 nodes", "kill-leader", "I8: block 7"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in the summary:\n%s", want, b)
		}
	}
}

func TestAProblemIsAFailure(t *testing.T) {
	r := &Run{Problems: []string{"the leader never changed"}}
	if r.Judge(); r.OK {
		t.Error("a run that did not go as planned is well")
	}
}

// The page holds all of the result and nothing of it can be taken for markup; it asks for nothing from outside.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	r := failed()
	for name, write := range map[string]func(string) error{"p.html": r.WriteHTML, "r.json": r.WriteJSON, "j.xml": r.WriteJUnit} {
		if err := write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	html := read("p.html")
	if strings.Contains(html, "</script><b>") || !strings.Contains(html, "block 7") || strings.Count(html, "</script>") != 1 {
		t.Error("a violation's text is not escaped, or not there")
	}
	for _, outside := range []string{"src=", "href=", "@import", "url("} {
		if strings.Contains(html, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	var back Result
	if err := json.Unmarshal([]byte(read("r.json")), &back); err != nil || back.Clusters[0].Faults[0].Kind != "kill-leader" {
		t.Errorf("%v %+v", err, back)
	}
	var units suites
	if err := xml.Unmarshal([]byte(read("j.xml")), &units); err != nil || units.Suites[0].Failures != 1 || units.Suites[0].Tests != 2 {
		t.Errorf("%v %+v", err, units)
	}
}
