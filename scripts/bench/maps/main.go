package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

type options struct {
	keys, dir      string
	cache          int64
	batch, batches int
	saveEvery      int
}

func main() {
	var o options
	flag.StringVar(&o.keys, "keys", "100000,1000000", "sizes of the map")
	flag.StringVar(&o.dir, "dir", "", "where the databases are made (default: the folder for temporary files)")
	flag.Int64Var(&o.cache, "cache-mb", 128, "each map's cache")
	flag.IntVar(&o.batch, "batch", 500, "keys in a batch")
	flag.IntVar(&o.batches, "batches", 200, "batches that are measured")
	flag.IntVar(&o.saveEvery, "save-every", 40, "batches between two saves")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-maps:", err)
		os.Exit(1)
	}
}

// contestant is a map with what it took so far.
type contestant struct {
	name         string
	m            authMap
	db           *pebble.DB
	fill         float64 // seconds
	wall, cpu    float64 // seconds, all batches
	proofBytes   float64
	prove, check float64 // CPU seconds, one proof
	disk         uint64
}

func run(o options) error {
	fmt.Printf("%9s %-7s %8s %10s %9s %9s %9s %9s %9s\n", "keys", "map", "fill s", "us/key", "cpu/key", "disk MB", "proof B", "make us", "check us")
	for _, text := range strings.Split(o.keys, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := compare(o, n); err != nil {
			return fmt.Errorf("%d keys: %w", n, err)
		}
	}
	return nil
}

func compare(o options, n int) (err error) {
	dir, err := os.MkdirTemp(o.dir, "bench-maps-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := []*contestant{{name: "merkle"}, {name: "iavl"}}
	for _, c := range all {
		if c.db, err = openPebble(filepath.Join(dir, c.name), o.cache<<20/2); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.db.Close()) }()
	}
	all[0].m, all[1].m = newOurs(all[0].db, o.cache<<20), newTheirs(all[1].db, o.cache<<20)
	for _, c := range all {
		t := time.Now()
		if err := c.filled(n); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.fill = time.Since(t).Seconds()
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for done := 0; done < o.batches; done += o.saveEvery {
		turn := make([][2][][]byte, 0, o.saveEvery)
		for i := range o.saveEvery {
			keys, values := draw(rng, n, o.batch, done+i)
			turn = append(turn, [2][][]byte{keys, values})
		}
		for _, c := range all {
			if err := c.turn(turn); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, c := range all {
		if err := c.proofs(n); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.disk = c.db.Metrics().DiskSpaceUsage()
		keys := float64(o.batches * o.batch)
		fmt.Printf("%9d %-7s %8.1f %10.1f %9.1f %9.0f %9.0f %9.1f %9.1f\n", n, c.name, c.fill, 1e6*c.wall/keys, 1e6*c.cpu/keys,
			float64(c.disk)/(1<<20), c.proofBytes, 1e6*c.prove, 1e6*c.check)
	}
	a, b := all[0], all[1]
	fmt.Printf("%9s %-7s %8.2f %10.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", "", "ratio", a.fill/b.fill, a.wall/b.wall, a.cpu/b.cpu,
		float64(a.disk)/float64(b.disk), a.proofBytes/b.proofBytes, a.prove/b.prove, a.check/b.check)
	return nil
}

// key is the i-th key: as long as an account's in the state, and as random.
func key(i int) []byte {
	rng := rand.NewPCG(uint64(i), 9)
	k := append(make([]byte, 0, 34), "a/"...)
	for range 4 {
		k = binary.BigEndian.AppendUint64(k, rng.Uint64())
	}
	return k
}

// value is as long as an account with one balance.
func value(i, version int) []byte { return fmt.Appendf(nil, "%010d %012d", i, version) }

// draw returns different keys out of n with new values.
func draw(rng *rand.Rand, n, count, version int) (keys, values [][]byte) {
	for seen := map[int]bool{}; len(keys) < count; {
		i := rng.IntN(n)
		if !seen[i] {
			seen[i] = true
			keys, values = append(keys, key(i)), append(values, value(i, version+1))
		}
	}
	return keys, values
}

func (c *contestant) filled(n int) error {
	const part = 50_000
	for from := 0; from < n; from += part {
		var keys, values [][]byte
		for i := from; i < min(from+part, n); i++ {
			keys, values = append(keys, key(i)), append(values, value(i, 0))
		}
		if err := errors.Join(c.m.update(keys, values), c.m.save()); err != nil {
			return err
		}
	}
	return nil
}

// turn applies batches and saves, and adds what that took, compactions included.
func (c *contestant) turn(batches [][2][][]byte) error {
	runtime.GC() // of what the other one left
	quiet := func() {
		for c.db.Metrics().Compact.NumInProgress > 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	quiet()
	cpu, t := cpuSeconds(), time.Now()
	for _, b := range batches {
		if err := c.m.update(b[0], b[1]); err != nil {
			return err
		}
	}
	if err := c.m.save(); err != nil {
		return err
	}
	c.wall += time.Since(t).Seconds()
	quiet()
	c.cpu += cpuSeconds() - cpu
	return nil
}

// proofs makes and checks proofs of keys drawn from all.
func (c *contestant) proofs(n int) error {
	const count = 1000
	rng := rand.New(rand.NewPCG(2, uint64(n)))
	keys, proofs := make([][]byte, count), make([]any, count)
	fresh, values := draw(rng, n, count, 1<<20)
	if err := errors.Join(c.m.update(fresh, values), c.m.save()); err != nil {
		return err
	}
	t := cpuSeconds()
	for i := range keys {
		var size int
		var err error
		keys[i] = fresh[i]
		if proofs[i], size, err = c.m.prove(keys[i]); err != nil {
			return err
		}
		c.proofBytes += float64(size) / count
	}
	c.prove = (cpuSeconds() - t) / count
	t = cpuSeconds()
	for i := range keys {
		if err := c.m.check(keys[i], values[i], proofs[i]); err != nil {
			return err
		}
	}
	c.check = (cpuSeconds() - t) / count
	return nil
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
