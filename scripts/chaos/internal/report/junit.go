package report

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"

	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
)

type suites struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []suite  `xml:"testsuite"`
}

type suite struct {
	Name     string  `xml:"name,attr"`
	Tests    int     `xml:"tests,attr"`
	Failures int     `xml:"failures,attr"`
	Skipped  int     `xml:"skipped,attr"`
	Time     float64 `xml:"time,attr"`
	Cases    []tcase `xml:"testcase"`
}

type tcase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *failure `xml:"failure,omitempty"`
	Skipped *failure `xml:"skipped,omitempty"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the result as JUnit XML: a suite a cluster, a case a check.
func (r *Result) WriteJUnit(path string) error {
	var all suites
	for _, run := range r.Clusters {
		s := suite{Name: fmt.Sprintf("chaos, %d nodes, seed %d", run.Nodes, run.Seed), Time: run.Duration}
		for _, v := range run.Verdicts {
			c := tcase{Class: "baton.chaos", Name: v.Check + " (" + v.Invariants + ")"}
			switch v.Result {
			case judge.Fail:
				c.Failure = &failure{Message: v.Detail, Text: strings.Join(v.Violations, "\n")}
				s.Failures++
			case judge.Skip:
				c.Skipped = &failure{Message: v.Detail}
				s.Skipped++
			case judge.Pass, judge.Cut:
			}
			s.Cases = append(s.Cases, c)
		}
		plan := tcase{Class: "baton.chaos", Name: "the run went as planned"}
		if len(run.Problems) > 0 {
			plan.Failure = &failure{Message: run.Problems[0], Text: strings.Join(run.Problems, "\n")}
			s.Failures++
		}
		s.Cases = append(s.Cases, plan)
		s.Tests = len(s.Cases)
		all.Suites = append(all.Suites, s)
	}
	data, err := xml.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(xml.Header), append(data, '\n')...), 0o644)
}
