package nodetest

// counters say what a run, or many, reached.
type counters struct {
	events   int
	acked    int
	drawn    map[string]int // faults
	branches map[string]int
}

func newCounters() counters {
	return counters{drawn: map[string]int{}, branches: map[string]int{}}
}

func (c *counters) hit(branch string) { c.branches[branch]++ }

func (c *counters) add(o counters) {
	c.events += o.events
	c.acked += o.acked
	addAll(c.drawn, o.drawn)
	addAll(c.branches, o.branches)
}

func addAll(to, from map[string]int) {
	for k, v := range from {
		to[k] += v
	}
}
