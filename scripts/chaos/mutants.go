package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
)

// mutant is a program with one rule switched off, by its name in the cores (build tag `faults`), and what a run must find.
type mutant struct {
	rule, text string
	kinds      []string
	broken     []string // any of these invariants
}

func mutants() []mutant {
	return []mutant{
		{
			"R5-vote-not-stored", "the vote is not part of the durable state",
			[]string{"kill-all", "kill-majority", "restart-storm"},
			[]string{"I1", "I2"},
		},
		{
			"R12-early", "blocks are signed and answered before they are committed",
			[]string{"kill-leader", "isolate-leader", "leader-in-minority"},
			[]string{"I10"},
		},
		{
			"R21-cached", "the lease is not compared with the clock",
			[]string{"stop-leader", "stutter"},
			[]string{"I15"},
		},
		{
			"R21-real", "the lease is compared with the wall clock alone",
			[]string{"clock-jump-stop"},
			[]string{"I15"},
		},
	}
}

// hunt runs a broken program after the other, and the same program with all rules at the end. It reports whether each was
// caught by the invariant that it breaks, and the whole one by none.
func hunt(ctx context.Context, s *settings) (bool, error) {
	all := true
	for i, m := range append(mutants(), mutant{text: "all rules hold", kinds: []string{"kill-all", "stop-leader", "transfer", "clock-jump"}}) {
		mine := *s
		mine.nodes, mine.only, mine.rule = []int{3}, m.kinds, m.rule
		mine.injected, mine.short, mine.duration = true, true, min(s.duration, 40*time.Second)
		mine.overlap = 0
		r, err := one(ctx, &mine, i, 3)
		if ctx.Err() != nil {
			return false, errors.Join(err, ctx.Err())
		}
		found, other := "", 0
		if r != nil {
			for _, v := range r.Verdicts {
				if v.Result != judge.Fail {
					continue
				}
				other++
				for _, text := range v.Violations {
					name, _, _ := strings.Cut(text, ":")
					if found == "" && slices.Contains(m.broken, name) {
						found = text
					}
				}
			}
		}
		switch {
		case m.rule == "" && (err != nil || !r.OK):
			all = false
			fmt.Printf("FAIL    %s, and the run was not well (%v)\n", m.text, err)
		case m.rule == "":
			fmt.Printf("ok      %s: nothing is found\n", m.text)
		case found == "":
			all = false
			fmt.Printf("MISSED  %s: %s: %d checks failed, none by %v (%v)\n", m.rule, m.text, other, m.broken, err)
		default:
			fmt.Printf("caught  %s: %s: %s\n", m.rule, m.text, found)
		}
	}
	return all, nil
}
