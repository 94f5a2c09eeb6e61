package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// gcHeadroomBytes is by how much the heap may grow before the next collection, or by what is alive if that is more. A
// node with a small state has a few MiB alive and makes tens of MiB of garbage a second: the runtime's own rule, which
// looks only at what is alive, would have it collect several times a second.
const gcHeadroomBytes = 64 << 20

// keepHeadroom has the collector follow gcHeadroomBytes, unless the operator chose with GOGC.
func keepHeadroom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	h := &headroom{percent: 100}
	h.adjust()
	runtime.SetFinalizer(&collected{h}, (*collected).again)
}

// collected is garbage as soon as it is made, so that the next collection finds it.
type collected struct{ h *headroom }

func (c *collected) again() {
	c.h.adjust()
	runtime.SetFinalizer(c, (*collected).again)
}

type headroom struct{ percent int }

// adjust sets the percentage for the next collection from what the last one left alive.
func (h *headroom) adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return // another runtime
	}
	percent := gcPercent(sample[0].Value.Uint64())
	if d := percent - h.percent; d > h.percent/8 || d < -h.percent/8 { // to set it stops the program for a moment
		debug.SetGCPercent(percent)
		h.percent = percent
	}
}

// gcPercent is the growth that is allowed over so much that is alive.
func gcPercent(liveBytes uint64) int {
	return int(max(100, gcHeadroomBytes*100/max(liveBytes, 4<<20)))
}
