package merkle

// path is a run of nibbles (half bytes, high half first) inside packed bytes: nibble i of it is the one at off+i. It is
// a view: cutting one copies nothing.
type path struct {
	packed []byte
	off    uint16 // nibbles of packed before the path
	len    uint16 // in nibbles
}

// keyPath is what is left of a key after its first depth nibbles.
func keyPath(key []byte, depth int) path {
	return path{packed: key, len: uint16(2 * len(key))}.cut(depth, 2*len(key))
}

func (p path) at(i int) byte { return nibbleAt(p.packed, int(p.off)+i) }

// cut returns the nibbles from <= i < to.
func (p path) cut(from, to int) path {
	start, end := int(p.off)+from, int(p.off)+to
	return path{packed: p.packed[start/2 : (end+1)/2], off: uint16(start % 2), len: uint16(to - from)}
}

// common returns how many nibbles p has in common with the key's from depth on.
func (p path) common(key []byte, depth int) int {
	i, off, n := 0, int(p.off), min(int(p.len), 2*len(key)-depth)
	for i+2 <= n && byteAt(p.packed, off+i) == byteAt(key, depth+i) {
		i += 2
	}
	for i < n && p.at(i) == nibbleAt(key, depth+i) {
		i++
	}
	return i
}

// pack appends the nibbles, two a byte; an unpaired last one is followed by a zero half.
func (p path) pack(buf []byte) []byte {
	i, off, n := 0, int(p.off), int(p.len)
	if off == 0 {
		buf, i = append(buf, p.packed[:n/2]...), n-n%2
	}
	for ; i+2 <= n; i += 2 {
		buf = append(buf, byteAt(p.packed, off+i))
	}
	if i < n {
		buf = append(buf, p.at(i)<<4)
	}
	return buf
}

// nibbles returns them one a byte.
func (p path) nibbles() []byte {
	out := make([]byte, p.len)
	for i := range out {
		out[i] = p.at(i)
	}
	return out
}

// clone returns the path in bytes of its own.
func (p path) clone() path {
	if p.len == 0 {
		return path{}
	}
	return path{packed: p.pack(make([]byte, 0, (p.len+1)/2)), len: p.len}
}

// join returns a, the nibble and b in a row.
func join(a path, nibble byte, b path) path {
	n := int(a.len) + 1 + int(b.len)
	out := path{packed: make([]byte, (n+1)/2), len: uint16(n)}
	set := func(i int, v byte) { out.packed[i/2] |= v << (4 * (1 - i%2)) }
	for i := range int(a.len) {
		set(i, a.at(i))
	}
	set(int(a.len), nibble)
	for i := range int(b.len) {
		set(int(a.len)+1+i, b.at(i))
	}
	return out
}

// nibbleAt returns the i-th nibble of packed bytes.
func nibbleAt(packed []byte, i int) byte {
	b := packed[i/2]
	if i%2 == 0 {
		return b >> 4
	}
	return b & 0x0f
}

// byteAt returns the i-th and the next nibble of packed bytes.
func byteAt(packed []byte, i int) byte {
	if i%2 == 0 {
		return packed[i/2]
	}
	return packed[i/2]<<4 | packed[i/2+1]>>4
}

// nibbles unpacks a key, one nibble a byte.
func nibbles(key []byte) []byte {
	out := make([]byte, 2*len(key))
	for i, b := range key {
		out[2*i], out[2*i+1] = b>>4, b&0x0f
	}
	return out
}
