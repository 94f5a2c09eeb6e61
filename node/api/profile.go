package api

import (
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// maxProfileTime bounds a profile that is taken over a time.
const maxProfileTime = 5 * time.Minute

// getProfile answers GET /debug/pprof/{name}: "profile" is the processor's time and "trace" what the scheduler does, both
// over ?seconds (10), any other name a profile of the runtime (heap, goroutine, ...) as it is now, as text with ?debug=1.
// It is served on the admin socket alone: a profile tells what is in memory, and costs time.
func (a *Admin) getProfile(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	number := func(key string, def, most int) (int, error) {
		text := r.URL.Query().Get(key)
		if text == "" {
			return def, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > most {
			return 0, Malformed(fmt.Sprintf("%s is %s: must be 0 to %d", key, quote(text), most))
		}
		return n, nil
	}
	seconds, err := number("seconds", 10, int(maxProfileTime.Seconds()))
	if err != nil {
		return err
	}
	debug, err := number("debug", 0, 2)
	if err != nil {
		return err
	}
	over := time.Duration(seconds) * time.Second
	a.router.allowWrite(w, over+adminTimeout)
	w.Header().Set("Content-Type", "application/octet-stream")
	begin, end := pprof.StartCPUProfile, pprof.StopCPUProfile
	switch name {
	case "profile":
	case "trace":
		begin, end = trace.Start, trace.Stop
	default:
		p := pprof.Lookup(name)
		if p == nil {
			return NotFound("there is no profile " + quote(name))
		}
		return p.WriteTo(w, debug)
	}
	if err := begin(w); err != nil {
		return unavailable("another profile is being taken")
	}
	defer end()
	timer := time.NewTimer(over)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	return nil
}
