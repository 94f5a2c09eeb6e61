package guide

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is a fenced block of the guide.
type Block struct {
	Line int    // of its fence
	Kind string // sh or text
	On   string // where a sh block runs: node1 to node4, or each
	Text string
}

// Parse returns the fenced blocks of a guide. A block of another kind, or one of kind sh without a place, is an error.
func Parse(text string) ([]Block, error) {
	var out []Block
	var open *Block
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open != nil:
			out = append(out, *open)
			open = nil
		case isFence:
			kind, place, _ := strings.Cut(fence, " ")
			on, _ := strings.CutPrefix(place, "on=")
			open = &Block{Line: n, Kind: kind, On: on}
			if kind != "text" && (kind != "sh" || !placePattern.MatchString(on)) {
				return nil, fmt.Errorf("line %d: a block %q that nobody runs: want sh on=node1 to node4 or each, or text", n, fence)
			}
			if kind == "text" && (len(out) == 0 || out[len(out)-1].Kind != "sh") {
				return nil, fmt.Errorf("line %d: what no block before it has printed", n)
			}
		case open != nil:
			open.Text += line + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: a block without an end", open.Line)
	}
	return out, nil
}

var (
	placePattern  = regexp.MustCompile(`^(node[1-4]|each)$`)
	inlinePattern = regexp.MustCompile("`((?:baton|systemctl|journalctl|dpkg) [^`]*)`")
)

// Unrun returns the commands in the running text that are in no block.
func Unrun(text string, blocks []Block) []string {
	var run strings.Builder
	for _, b := range blocks {
		if b.Kind == "sh" {
			run.WriteString(b.Text)
		}
	}
	var out []string
	for _, m := range inlinePattern.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(run.String(), m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

// Missing returns the lines of want that got does not have, in order; … in a line stands for anything.
func Missing(want, got string) []string {
	lines := strings.Split(got, "\n")
	var out []string
	for w := range strings.Lines(want) {
		parts := strings.Split(strings.TrimSpace(w), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		found := -1
		for i, line := range lines {
			if pattern.MatchString(strings.TrimSpace(line)) {
				found = i
				break
			}
		}
		if found < 0 {
			out = append(out, strings.TrimSpace(w))
			continue
		}
		lines = lines[found+1:]
	}
	return out
}
