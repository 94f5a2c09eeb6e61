package transcript

import (
	"strings"
	"testing"
)

type echo struct{ n int }

func (e *echo) Command(args []string) string {
	e.n++
	return strings.Repeat("  "+strings.Join(args, "+")+"\n", e.n)
}

func TestPlay(t *testing.T) {
	const script = "# why\n\na b\n  old output\n\n# twice\nc\n"
	const want = "# why\n\na b\n  a+b\n\n# twice\nc\n  c\n  c\n"
	got := play(&echo{}, script)
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if again := play(&echo{}, got); again != got {
		t.Errorf("its own output became\n%s", again)
	}
}

func TestFirstDifference(t *testing.T) {
	for _, c := range []struct{ want, got, say string }{
		{"a\nb\n", "a\nc\n", "Line 2:\n-b\n+c"},
		{"a", "a\nb", "2 lines instead of 1"},
	} {
		if say := firstDifference(c.want, c.got); say != c.say {
			t.Errorf("%q, %q: %q", c.want, c.got, say)
		}
	}
}
