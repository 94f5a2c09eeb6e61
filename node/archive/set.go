package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

// Objects is a store of named pieces of bytes, such as a bucket of an object store. A name has slashes.
type Objects interface {
	// List calls each for every object whose name begins with prefix, in any order, until it returns an error.
	List(ctx context.Context, prefix string, each func(name string) error) error
	// Put stores what r has until io.EOF, and returns its length. An object is there whole or, after an error of the store
	// or of r, as it was before. Another object of that name is replaced.
	Put(ctx context.Context, name string, r io.Reader) (int64, error)
	// Open reads an object. The reader returns [ErrChanged] when the object is replaced or deleted meanwhile. Close it.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

var (
	// ErrChanged is returned when an object changed while it was read.
	ErrChanged = errors.New("the object was replaced or deleted while it was read")
	// ErrNotInSet is returned when a set has nothing of this chain.
	ErrNotInSet = errors.New("it has nothing of this chain")
)

const (
	// objectBytes is when an object of blocks is long enough.
	objectBytes = 32 << 20
	// maxObjects bounds how many objects of one chain are looked at.
	maxObjects = 1 << 20
	// maxTries is how often an object that changes meanwhile is read.
	maxTries = 3
)

// Set is the archives of one chain in an object store. Several may add to it at the same time, and others read. It is not
// safe for concurrent use by goroutines.
type Set struct {
	objects Objects
	genesis block.Hash
	log     zerolog.Logger
	// objectBytes is when an object of blocks is long enough.
	objectBytes int
}

// NewSet returns the set of the chain that has that genesis. The log gets what is wrong with objects, and progress.
func NewSet(objects Objects, genesis block.Hash, log zerolog.Logger) *Set {
	return &Set{objects: objects, genesis: genesis, log: log, objectBytes: objectBytes}
}

// span is an object with blocks.
type span struct {
	from, to block.Height
}

func (s *Set) blocksName(r span) string {
	return fmt.Sprintf("%s/blocks-%020d-%020d.baton", s.genesis, r.from, r.to)
}

// stateName is the name of the object with the state after block h, and that block.
func (s *Set) stateName(h block.Height) string {
	return fmt.Sprintf("%s/state-%020d.baton", s.genesis, h)
}

var namePattern = regexp.MustCompile(`^(blocks|state)-(\d{20})(?:-(\d{20}))?\.baton$`)

// index is what the names of a set say. Whether it is true shows when they are read.
type index struct {
	blocks  []span         // by from, the longer first
	covered []span         // the same, those that touch made one
	states  []block.Height // ascending
}

func (s *Set) index(ctx context.Context) (x index, err error) {
	folder := s.genesis.String() + "/"
	n, other := 0, 0
	err = s.objects.List(ctx, folder, func(name string) error {
		if n++; n > maxObjects {
			return fmt.Errorf("more than %d objects", maxObjects)
		}
		if len(name) < len(folder) || !x.add(name[len(folder):]) {
			other++
		}
		return nil
	})
	if err != nil {
		return x, fmt.Errorf("list: %w", err)
	}
	if other > 0 {
		s.log.Warn().Int("objects", other).Str("folder", folder).Msg("objects whose names are not an archive's are left alone")
	}
	x.sort()
	return x, nil
}

func (x *index) sort() {
	slices.SortFunc(x.blocks, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	slices.Sort(x.states)
	x.covered = nil
	for _, r := range x.blocks {
		if n := len(x.covered); n > 0 && r.from <= x.covered[n-1].to+1 {
			x.covered[n-1].to = max(x.covered[n-1].to, r.to)
		} else {
			x.covered = append(x.covered, r)
		}
	}
}

// add notes an object, unless its name is none that a set has.
func (x *index) add(name string) bool {
	m := namePattern.FindStringSubmatch(name)
	if m == nil || (m[1] == "state") != (m[3] == "") {
		return false
	}
	from, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil || from == 0 {
		return false
	}
	if m[1] == "state" {
		x.states = append(x.states, block.Height(from))
		return true
	}
	to, err := strconv.ParseUint(m[3], 10, 64)
	if err != nil || to < from || to == 1<<64-1 {
		return false
	}
	x.blocks = append(x.blocks, span{block.Height(from), block.Height(to)})
	return true
}

func (x *index) empty() bool { return len(x.blocks) == 0 && len(x.states) == 0 }

// reach returns how far one comes with the blocks that are there, from right above h on.
func (x *index) reach(h block.Height) block.Height {
	i, _ := slices.BinarySearchFunc(x.covered, h+1, func(r span, h block.Height) int { return cmp.Compare(r.to, h) })
	if i < len(x.covered) && x.covered[i].from <= h+1 {
		return x.covered[i].to
	}
	return h
}

// end returns how far one comes from the best beginning, 0 if there is none.
func (x *index) end() block.Height {
	h := x.reach(0)
	for _, state := range x.states {
		h = max(h, x.reach(state))
	}
	return h
}

// next returns the object that has block h and most of those after it, without those that are left out. It forgets what is
// below h.
func (x *index) next(h block.Height, bad map[string]bool, name func(span) string) (best span, ok bool) {
	for len(x.blocks) > 0 && x.blocks[0].to < h {
		x.blocks = x.blocks[1:]
	}
	for _, r := range x.blocks {
		if r.from > h {
			break
		}
		if r.to >= h && (!ok || r.to > best.to) && !bad[name(r)] {
			best, ok = r, true
		}
	}
	return best, ok
}
