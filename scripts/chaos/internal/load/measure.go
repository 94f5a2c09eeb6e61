package load

import (
	"slices"
	"time"
)

// Second is what happened in one second of the load.
type Second struct {
	At    float64 `json:"at_s"`
	Acks  int     `json:"acks"`
	Reads int     `json:"reads"`
	// P50 and P99 are the latencies of payments that were acknowledged in it, in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// Seconds cuts a history into seconds, empty ones included, up to end.
func Seconds(ops []Op, end time.Duration) []Second {
	n := int(end/time.Second) + 1
	out := make([]Second, n)
	took := make([][]time.Duration, n)
	for i := range out {
		out[i].At = float64(i)
	}
	for _, op := range ops {
		i := int(op.Return / time.Second)
		if op.Outcome != Done || i >= n {
			continue
		}
		if op.Kind == Read {
			out[i].Reads++
			continue
		}
		out[i].Acks++
		took[i] = append(took[i], op.Return-op.Call)
	}
	for i, t := range took {
		slices.Sort(t)
		out[i].P50, out[i].P99 = ms(Percentile(t, 50)), ms(Percentile(t, 99))
	}
	return out
}

// Latencies returns, sorted, how long each acknowledged payment took.
func Latencies(ops []Op) []time.Duration {
	var took []time.Duration
	for _, op := range ops {
		if op.Kind == Transfer && op.Outcome == Done {
			took = append(took, op.Return-op.Call)
		}
	}
	slices.Sort(took)
	return took
}

// Gap is a time without any acknowledgement.
type Gap struct {
	From, To time.Duration
}

// Length returns how long the gap is.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Gaps returns the times of at least the given length without any acknowledgement of a payment, in order.
func Gaps(ops []Op, end, least time.Duration) []Gap {
	var at []time.Duration
	for _, op := range ops {
		if op.Kind == Transfer && op.Outcome == Done {
			at = append(at, op.Return)
		}
	}
	slices.Sort(at)
	at = append(at, end)
	var gaps []Gap
	last := time.Duration(0)
	for _, t := range at {
		if t-last >= least {
			gaps = append(gaps, Gap{last, t})
		}
		last = max(last, t)
	}
	return gaps
}

// Percentile returns the smallest value that p percent of the sorted values do not exceed, 0 of none.
func Percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
