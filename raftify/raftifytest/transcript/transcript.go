// Package transcript runs tests that are texts: a testdata/*.txt holds commands and all that came of them. A line at the
// margin is a command, an indented one is output, # is a comment. The first line is a comment that says why the text is
// there. What the commands are, the caller says; `go test -run TestTranscripts -update` in his package writes the
// outputs anew, and the diff is reviewed like code.
package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// World is what the commands of one text act on.
type World interface {
	// Command carries out one line, split into words, and returns its output: nothing, or whole lines that are indented.
	Command(args []string) string
}

// Test plays each testdata/*.txt of the package under test in a world of its own, as a subtest, and compares what comes
// out with the file. With update the file is rewritten instead.
func Test(t *testing.T, update bool, newWorld func(t *testing.T) World) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(in), "# ") {
				t.Fatal("a transcript opens with why")
			}
			out := play(newWorld(t), string(in))
			if update {
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if out != string(in) {
				t.Errorf("%s differs; go test -run TestTranscripts -update, and review. %s", file, firstDifference(string(in), out))
			}
		})
	}
}

func play(w World, script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		out.WriteString(line + "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			out.WriteString(w.Command(strings.Fields(line)))
		}
	}
	return out.String()
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("Line %d:\n-%s\n+%s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines instead of %d", len(g), len(w))
}
