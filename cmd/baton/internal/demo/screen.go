package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Screen is where a run is shown as it happens. It is safe for concurrent use.
type Screen struct {
	// Out gets lines; nil shows nothing.
	Out io.Writer
	// Terminal allows a line that is written over again and again; Colour allows colours.
	Terminal, Colour bool

	mu     sync.Mutex
	start  time.Time
	events []Event
	live   bool // a live line stands on the last line
}

// style is an ANSI colour, "" for none.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (s *Screen) paint(c style, text string) string {
	if !s.Colour || c == plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// begin sets the instant from which events are timed.
func (s *Screen) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = time.Now()
}

// event shows and keeps one line of what happened just now.
func (s *Screen) event(c style, format string, args ...any) {
	s.eventAt(time.Now(), c, format, args...)
}

func (s *Screen) eventAt(at time.Time, c style, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, text := at.Sub(s.start), fmt.Sprintf(format, args...)
	s.events = append(s.events, Event{AtMs: ms(since), Text: text})
	s.print(s.paint(dim, clock(since)) + "  " + s.paint(c, text) + "\n")
}

func clock(d time.Duration) string { return fmt.Sprintf("%7.2f s", d.Seconds()) }

// line shows a line that is no event.
func (s *Screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print(text + "\n")
}

// status shows how things stand: over the last status on a terminal, on a line of its own elsewhere.
func (s *Screen) status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = clock(time.Since(s.start)) + "  " + text
	if !s.Terminal {
		s.print(text + "\n")
		return
	}
	s.print(s.paint(dim, text))
	s.live = true
}

// hint shows what is being done, on a terminal only.
func (s *Screen) hint(text string) {
	if s.Terminal {
		s.status(text)
	}
}

// wipe takes a live line away.
func (s *Screen) wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print("")
}

// print writes text where the live line stood.
func (s *Screen) print(text string) {
	if s.live {
		text = "\r\x1b[K" + text
		s.live = false
	}
	if s.Out != nil && text != "" {
		_, _ = io.WriteString(s.Out, text) // nobody is left to tell
	}
}

// statusEvery is how often the live line is written.
func (s *Screen) statusEvery() time.Duration {
	if s.Terminal {
		return 100 * time.Millisecond
	}
	return 2 * time.Second
}

func (s *Screen) history() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event{}, s.events...)
}

// summary shows a finished report.
func (s *Screen) summary(r *Report) {
	row := func(name, format string, args ...any) {
		s.line(s.paint(bold, fmt.Sprintf("%-13s", name)) + fmt.Sprintf(format, args...))
	}
	good := func(ok bool, yes, no string) string {
		if ok {
			return s.paint(green, yes)
		}
		return s.paint(red, no)
	}
	count := func(n int, what string) string {
		return good(n == 0, "0 "+what, group(n)+" "+what)
	}
	t := r.Transactions
	s.line("")
	row("transactions", "%s acknowledged in %.1f s, %s a second, by %d accounts through %d nodes",
		group(t.Acknowledged), r.TrafficMs/1000, group(int(t.PerSecond+0.5)), r.Clients, r.Nodes)
	if r.Chains == nil {
		row("", "what became of them is not known: the chains were not read")
	} else {
		row("", "%s · %s · %s · %s", count(t.Lost, "lost"), count(t.Duplicated, "duplicated"),
			count(t.Misplaced, "misplaced"), count(t.Strangers, "unaccounted for"))
	}
	row("latency", "half within %.1f ms, 99%% within %.1f ms, all within %.0f ms", r.LatencyMs.P50, r.LatencyMs.P99, r.LatencyMs.Max)
	for i, f := range r.Failovers {
		row(first(i == 0, "failovers"), "%s killed, %s took over: first new transaction acknowledged after %s, longest silence %.0f ms",
			f.Killed, f.Leader, s.paint(bold, fmt.Sprintf("%.0f ms", f.GapMs)), f.PauseMs)
	}
	if n := r.LeaderChangesWithoutFault; n > 0 {
		row("", "%s", s.paint(yellow, fmt.Sprintf("the leader changed %d times without a kill", n)))
	}
	for i, c := range r.Chains {
		row(first(i == 0, "chains"), "%s  height %s  tip %.16s…  %s transactions, %s signatures good",
			c.ID, group(int(c.Height)), c.TipHash, group(c.Transactions), group(c.Signatures))
	}
	if r.Chains != nil {
		row("one chain", "%s", good(r.OneChain, "yes: every block fetched from every node, the same everywhere", "NO"))
		row("money", "%s", good(r.MoneyConserved, "every account has on every node exactly what the payments come to", "WRONG"))
		row("nonces", "%s", good(r.NoncesAgree, "agree with the number of payments, on every node", "WRONG"))
	}
	for i, line := range r.LogErrors {
		row(first(i == 0, "log errors"), "%s", s.paint(yellow, line))
	}
	if r.Dir != "" {
		row("files", "%s", r.Dir)
	}
	s.line("")
	if r.OK {
		s.line(s.paint(green, "Nothing that was acknowledged was lost."))
		return
	}
	for _, p := range r.Problems {
		s.line(s.paint(red, "WRONG: "+p))
	}
}

func first(yes bool, name string) string {
	if yes {
		return name
	}
	return ""
}

// group writes n with thousands separated.
func group(n int) string {
	text := fmt.Sprint(n)
	var out strings.Builder
	for i, r := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(r)
	}
	return out.String()
}
