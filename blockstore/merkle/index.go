package merkle

import "math/bits"

// index says where a shard's entries stand: an open hash table by id with linear probing, so that a look-up touches one line
// of memory, and without pointers. Ids of one shard are a multiple of cacheShards apart. The zero index is empty and ready.
type index struct {
	slots []slot // a power of two of them, three quarters in use at most
	used  int
}

// slot is one place of the table, free if the id is zero.
type slot struct {
	id    NodeID
	place place
}

const (
	slotBytes = 16
	minSlots  = 8
)

// find returns the number of the slot that has id, or of the free one where it would stand. There are slots.
func (x *index) find(id NodeID) int {
	mask := len(x.slots) - 1
	for i := x.home(id); ; i = (i + 1) & mask {
		if have := x.slots[i].id; have == id || have == 0 {
			return i
		}
	}
}

// home is the slot at which the search for id begins.
func (x *index) home(id NodeID) int {
	const golden = 0x9e3779b97f4a7c15
	return int(uint64(id/cacheShards) * golden >> (64 - bits.TrailingZeros(uint(len(x.slots)))))
}

// get returns the slot of an entry, nil if there is none. It is valid until the next set or del.
func (x *index) get(id NodeID) *slot {
	if x.used == 0 || id == 0 {
		return nil
	}
	if s := &x.slots[x.find(id)]; s.id == id {
		return s
	}
	return nil
}

// set adds an entry that is not there.
func (x *index) set(id NodeID, p place) {
	if 4*(x.used+1) > 3*len(x.slots) {
		old := x.slots
		x.slots = make([]slot, max(minSlots, 2*len(old)))
		for _, s := range old {
			if s.id != 0 {
				x.slots[x.find(s.id)] = s
			}
		}
	}
	x.used++
	x.slots[x.find(id)] = slot{id: id, place: p}
}

// del removes an entry that is there, and closes the gap: nothing behind it may be cut off from where its search begins.
func (x *index) del(id NodeID) {
	mask := len(x.slots) - 1
	gap := x.find(id)
	for i := (gap + 1) & mask; x.slots[i].id != 0; i = (i + 1) & mask {
		if (i-x.home(x.slots[i].id))&mask >= (i-gap)&mask {
			x.slots[gap], gap = x.slots[i], i
		}
	}
	x.slots[gap] = slot{}
	x.used--
}

// bytes is the memory that the table takes, and takes once it has one more entry.
func (x *index) bytes() (now, next int64) {
	now = int64(len(x.slots)) * slotBytes
	if 4*(x.used+1) > 3*len(x.slots) {
		return now, max(minSlots*slotBytes, 2*now)
	}
	return now, now
}
