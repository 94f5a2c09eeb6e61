package nodetest

// happening is something that will happen at an instant of true time.
type happening struct {
	at  int64
	seq uint64 // what was planned first happens first
	fn  func()
}

// agenda is a binary heap of happenings.
type agenda struct {
	heap []happening
	seq  uint64
}

func (a *agenda) less(i, j int) bool {
	x, y := &a.heap[i], &a.heap[j]
	return x.at < y.at || x.at == y.at && x.seq < y.seq
}

func (a *agenda) push(at int64, fn func()) {
	a.seq++
	a.heap = append(a.heap, happening{at, a.seq, fn})
	i := len(a.heap) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !a.less(i, p) {
			break
		}
		a.heap[i], a.heap[p] = a.heap[p], a.heap[i]
		i = p
	}
}

func (a *agenda) pop() happening {
	top := a.heap[0]
	last := len(a.heap) - 1
	a.heap[0] = a.heap[last]
	a.heap[last] = happening{}
	a.heap = a.heap[:last]
	i := 0
	for {
		c := 2*i + 1
		if c >= last {
			return top
		}
		if c+1 < last && a.less(c+1, c) {
			c++
		}
		if !a.less(c, i) {
			return top
		}
		a.heap[i], a.heap[c] = a.heap[c], a.heap[i]
		i = c
	}
}
