//go:build faults

package main

import (
	"os"
	"strings"

	"github.com/baton-ha/baton/node"
)

// breakRules switches off the rules that BATON_BREAK names, separated by commas: for `make chaos-mutants`, which shows
// that a chaos run notices. No release has it.
func breakRules(n *node.Node) {
	if rules := os.Getenv("BATON_BREAK"); rules != "" {
		n.Break(strings.Split(rules, ",")...)
	}
}
