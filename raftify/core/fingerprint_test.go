package core

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// notFingerprinted are the fields that Fingerprint leaves out, and why. Everything else must change it.
var notFingerprinted = map[string]string{
	".opt.State":                 "read by New alone; lives on in hs",
	".opt.Peers":                 "read by New alone; lives on in boot",
	".opt.Expect":                "read by New alone; lives on in boot",
	".opt.NeverBootstrap":        "read by New alone; lives on in boot",
	".opt.Timing":                "read by New alone; lives on in tm",
	".opt.Now":                   "read by New alone; lives on in contact",
	".ask.begun.Real":            "a follower's clocks",
	".ask.last.Real":             "a follower's clocks",
	".voteSeq":                   "counts only while its write is not durable",
	".opt.Hook":                  "the application adds its own fingerprint",
	".hook":                      "the application adds its own fingerprint",
	".opt.Rand":                  "a pure function in exploration",
	".tm":                        "the same in the whole cluster and for ever",
	".flt":                       "switches are thrown before a run",
	".contact.Real":              "followers do not read the wall clock",
	".timer.start.Real":          "followers do not read the wall clock",
	".stayOut.start.Real":        "followers do not read the wall clock",
	".yield.start.Real":          "followers do not read the wall clock",
	".candTimer.start.Real":      "followers do not read the wall clock",
	".resend.Real":               "followers do not read the wall clock",
	".roundStart.Real":           "followers do not read the wall clock",
	".boot.last.Real":            "followers do not read the wall clock",
	".mem.heard[].at.Real":       "followers do not read the wall clock",
	".mem.ping.Real":             "followers do not read the wall clock",
	".mem.asked.Real":            "followers do not read the wall clock",
	".mem.joins[].since.Real":    "followers do not read the wall clock",
	".mem.joins[].at.Real":       "followers do not read the wall clock",
	".mem.level[].Real":          "followers do not read the wall clock",
	".mem.wishes[].at.Real":      "age is taken without the wall clock",
	".dead[].at.Real":            "followers do not read the wall clock",
	".passed.at.Real":            "age is taken without the wall clock",
	".patience.timer.start.Real": "its age is taken without the wall clock",
}

// sharedByClones are never modified once they are in the core.
var sharedByClones = []string{
	".Members", ".Pins", ".Cfg.", ".Reachable", ".reachable", ".Attachment", ".Dead", ".notice", ".opt.", ".votes", ".boot.members", ".boot.proposal", ".flt",
}

const sampleNow = int64(10 * time.Second)

// fill gives every field a value that is not zero: two entries a map and slice, instants 10 ms ago.
func fill(v reflect.Value, n *int) {
	v = settable(v)
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Instant]() {
			ago := sampleNow - int64(10*time.Millisecond)
			v.Set(reflect.ValueOf(Instant{ago, ago, ago}))
			return
		}
		for _, f := range v.Fields() {
			fill(f, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(val, n)
			v.SetMapIndex(key, val)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("s%03d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(100+*n) * int64(time.Millisecond))
	case reflect.Uint8:
		v.SetUint(uint64(*n%5 + 1))
	case reflect.Uint64:
		v.SetUint(uint64(1000 + *n))
	default:
	}
}

// settable gives access to unexported fields.
func settable(v reflect.Value) reflect.Value {
	if v.CanSet() {
		return v
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// walk calls fn with each leaf below v: fn is given a function that changes the leaf and one that changes it back.
func walk(path string, v reflect.Value, fn func(path string, change, undo func())) {
	v = settable(v)
	set := func(nv reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		fn(path, func() { v.Set(nv) }, func() { v.Set(old) })
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			walk(path+"."+v.Type().Field(i).Name, v.Field(i), fn)
		}
	case reflect.Pointer:
		walk(path, v.Elem(), fn)
		set(reflect.Zero(v.Type()))
	case reflect.Slice:
		for i := range v.Len() {
			walk(path, v.Index(i), fn)
		}
		if v.Len() > 0 {
			set(v.Slice(0, v.Len()-1))
		} else {
			fn(path, func() {}, func() {})
		}
	case reflect.Array:
		walk(path, v.Index(0), fn)
	case reflect.Map:
		for _, key := range v.MapKeys() {
			old := v.MapIndex(key)
			fn(path+"[]", func() { v.SetMapIndex(key, reflect.Value{}) }, func() { v.SetMapIndex(key, old) })
			box := reflect.New(old.Type()).Elem()
			box.Set(old)
			walk(path+"[]", box, func(p string, change, undo func()) {
				fn(p, func() { change(); v.SetMapIndex(key, box) }, func() { undo(); v.SetMapIndex(key, box) })
			})
		}
	case reflect.String:
		set(reflect.ValueOf(v.String() + "x").Convert(v.Type()))
	case reflect.Bool:
		set(reflect.ValueOf(!v.Bool()).Convert(v.Type()))
	case reflect.Int, reflect.Int64:
		set(reflect.ValueOf(v.Int() + 1).Convert(v.Type()))
	case reflect.Uint8, reflect.Uint64:
		set(reflect.ValueOf(v.Uint() + 1).Convert(v.Type()))
	default:
		fn(path, func() {}, func() {})
	}
}

// samples are cores that between them read every field.
func samples() []*Core {
	var out []*Core
	for role := RoleFollower; role <= RoleLearner; role++ {
		for _, ver := range []uint64{0, 3} {
			c := &Core{}
			v, n := reflect.ValueOf(c).Elem(), 0
			for i := range v.NumField() {
				switch v.Type().Field(i).Name {
				case "opt", "tm", "flt", "hook":
				default:
					fill(v.Field(i), &n)
				}
			}
			c.opt = Options{Session: 5, Addr: "a", Membership: &Membership{KickAfter: time.Hour, MaxVoters: 5}}
			c.tm = DefaultTiming(1)
			c.hook = &BasicHook{}
			c.role, c.hs.Cfg.Key.Ver = role, ver
			c.boot.promises = map[NodeID]bool{"a": true, "b": true}
			out = append(out, c)
		}
	}
	return out
}

// TestFingerprintCoversEveryField changes one field after the other, those of nested types too. A field that is added
// to the core and not to Fingerprint fails here.
func TestFingerprintCoversEveryField(t *testing.T) {
	now := Instant{sampleNow, sampleNow, sampleNow}
	covered := map[string]bool{}
	for _, c := range samples() {
		before := c.Fingerprint(now)
		walk("", reflect.ValueOf(c).Elem(), func(path string, change, undo func()) {
			change()
			covered[path] = covered[path] || c.Fingerprint(now) != before
			undo()
			if after := c.Fingerprint(now); after != before {
				t.Fatalf("%s was not restored", path)
			}
		})
	}
	if len(covered) < 100 {
		t.Fatalf("the walk saw %d fields only", len(covered))
	}
	exempt := func(path string) string {
		for p := range notFingerprinted {
			if path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[") {
				return p
			}
		}
		return ""
	}
	used := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(covered)) {
		p := exempt(path)
		used[p] = true
		if !covered[path] && p == "" {
			t.Errorf("%s does not enter the fingerprint: add it, or say in notFingerprinted why not", path)
		}
		if covered[path] && p != "" {
			t.Errorf("%s enters the fingerprint, but notFingerprinted says %q", path, notFingerprinted[p])
		}
	}
	for p := range notFingerprinted {
		if !used[p] && p != ".flt" {
			t.Errorf("notFingerprinted names %s, which the core does not have", p)
		}
	}
}

// TestCloneSharesNothing changes every field of the original and looks whether the clone notices.
func TestCloneSharesNothing(t *testing.T) {
	now := Instant{sampleNow, sampleNow, sampleNow}
	for _, c := range samples() {
		d := c.Clone(nil)
		before := c.Fingerprint(now)
		if d.Fingerprint(now) != before {
			t.Fatal("a clone has another fingerprint than its original")
		}
		walk("", reflect.ValueOf(c).Elem(), func(path string, change, undo func()) {
			if slices.ContainsFunc(sharedByClones, func(s string) bool { return strings.Contains(path+".", s) }) {
				return
			}
			change()
			if d.Fingerprint(now) != before {
				t.Errorf("%s of a clone changes with its original", path)
			}
			undo()
		})
	}
}

// TestFingerprintIsRelative moves all clocks together: nothing that matters has changed.
func TestFingerprintIsRelative(t *testing.T) {
	run := func(start int64) (out [][16]byte) {
		at := Instant{start, start, start}
		c, err := New(Options{
			State: HardState{
				ID: "a", Inc: Inc{1}, Boot: 1,
				Cfg: NewConfig(CfgKey{Ver: 1}, []Member{{ID: "a", Inc: Inc{1}, Voter: true}, {ID: "b", Inc: Inc{2}, Voter: true}}),
			},
			Timing: DefaultTiming(1), Rand: func(n int64) int64 { return n / 2 }, Now: at,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			at = Instant{at.Mono + 1e7, at.Boot + 1e7, at.Real + 1e7}
			c.Tick(at)
			out = append(out, c.Fingerprint(at))
			c.Ready()
		}
		return out
	}
	if a, b := run(1e9), run(7e12); !slices.Equal(a, b) {
		t.Error("fingerprints depend on the origin of the clocks")
	}
}

// TestCloneBehavesAlike walks three cores through a random run and gives a clone of one of them the same inputs.
func TestCloneBehavesAlike(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		ids := []NodeID{"a", "b", "c"}
		var ms []Member
		for i, id := range ids {
			ms = append(ms, Member{ID: id, Inc: Inc{byte(i + 1)}, Voter: true})
		}
		cfg := NewConfig(CfgKey{Ver: 1}, ms)
		cores, clones := map[NodeID]*Core{}, map[NodeID]*Core{}
		at := Instant{1, 1, 1}
		for i, m := range ms {
			c, err := New(Options{
				State:  HardState{ID: m.ID, Inc: m.Inc, Boot: 1, Cfg: cfg, ClusterID: cfg.Hash()},
				Timing: DefaultTiming(1), Rand: func(n int64) int64 { return n * int64(i+1) / 5 }, Now: at,
			})
			if err != nil {
				t.Fatal(err)
			}
			cores[m.ID] = c
		}
		var net []Message
		lastSeq := map[NodeID]uint64{}
		do := func(id NodeID, f func(*Core)) {
			c := cores[id]
			if clones[id] == nil || r.IntN(20) == 0 {
				clones[id] = c.Clone(nil)
			}
			f(c)
			f(clones[id])
			x, y := c.Ready(), clones[id].Ready()
			if !reflect.DeepEqual(x, y) || c.Fingerprint(at) != clones[id].Fingerprint(at) {
				t.Fatalf("seed %d: a clone went another way\n%+v\n%+v", seed, x, y)
			}
			if x.HardState != nil {
				lastSeq[id] = x.Seq
			}
			net = append(net, x.Messages...)
		}
		for range 2000 {
			switch n := r.IntN(10); {
			case n < 3:
				d := r.Int64N(2e7)
				at = Instant{at.Mono + d, at.Boot + d, at.Real + d}
				for _, id := range ids {
					do(id, func(c *Core) { c.Tick(at) })
				}
			case n < 5:
				id := ids[r.IntN(3)]
				do(id, func(c *Core) { c.Durable(at, lastSeq[id]) })
			case n == 5:
				id := ids[r.IntN(3)]
				do(id, func(c *Core) { _ = c.Transfer(at, ""); c.Suspect(at, ids[0]); _, _ = c.RequestRound(at) })
			case len(net) > 0:
				i := r.IntN(len(net))
				m := net[i]
				net = slices.Delete(net, i, i+1)
				do(m.To, func(c *Core) { _ = c.Step(at, m) })
			}
		}
	}
}
