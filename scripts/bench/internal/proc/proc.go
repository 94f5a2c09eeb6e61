// Package proc reads from /proc who used how much CPU.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks a second in /proc: what Linux shows user space on every architecture that Go runs on.
const ticks = 100

// Sample is the CPU used so far.
type Sample struct {
	At   time.Time
	self float64   // seconds, of this process
	pids []float64 // seconds, of each process asked for
	busy float64   // seconds, of the whole machine
}

// Take reads now.
func Take(pids []int) (Sample, error) {
	s := Sample{At: time.Now()}
	for _, pid := range pids {
		used, err := ofProcess(pid)
		if err != nil {
			return s, err
		}
		s.pids = append(s.pids, used)
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return s, fmt.Errorf("own CPU time: %w", err)
	}
	s.self = seconds(ru)
	var err error
	s.busy, err = ofMachine()
	return s, err
}

func seconds(ru syscall.Rusage) float64 {
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
}

// Use is what was used between two samples, in cores.
type Use struct {
	Seconds float64
	Self    float64
	PIDs    []float64
	Others  float64 // all else on the machine
}

// Since returns what was used from before to s.
func (s Sample) Since(before Sample) Use {
	d := s.At.Sub(before.At).Seconds()
	u := Use{Seconds: d, Self: (s.self - before.self) / d}
	rest := (s.busy-before.busy)/d - u.Self
	for i := range s.pids {
		c := (s.pids[i] - before.pids[i]) / d
		u.PIDs = append(u.PIDs, c)
		rest -= c
	}
	u.Others = max(rest, 0)
	return u
}

func ofProcess(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of a node: %w", err)
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and 13th fields behind it.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is cut off", pid)
	}
	return sum(f[11:13])
}

func ofMachine() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("CPU time of the machine: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line)
	if len(f) < 9 {
		return 0, fmt.Errorf("/proc/stat is cut off")
	}
	return sum([]string{f[1], f[2], f[3], f[6], f[7]}) // user, nice, system, irq, softirq; neither idle nor stolen
}

func sum(fields []string) (float64, error) {
	total := 0.0
	for _, text := range fields {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time: %w", err)
		}
		total += float64(n) / ticks
	}
	return total, nil
}

// ThreadTime returns the CPU time that the calling thread has used. The goroutine must be locked to it.
func ThreadTime() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(1, &ru); err != nil { // RUSAGE_THREAD
		return 0, fmt.Errorf("CPU time of a thread: %w", err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}
