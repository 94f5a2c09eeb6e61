package merkle

// warmStep is after how many nodes read Warm asks whether to go on.
const warmStep = 256

// Warm reads nodes into the cache, the topmost levels first, until all of them are there or it is full to seven eighths. A
// map that was just loaded finds them one by one otherwise, each when a block waits for it. pace is called after every few
// hundred nodes read; it may block, so that others get on, and its error ends Warm.
func (m *Map) Warm(pace func() error) error {
	if m.root == nil {
		return nil
	}
	w := warming{tree: m.tree, pace: pace}
	for deeper := true; deeper && !w.full(); w.level++ {
		w.deeper = false
		if err := w.visit(ref{link: m.root}, 0, 0); err != nil {
			return err
		}
		deeper = w.deeper
	}
	return nil
}

// warming is one Warm under way: a walk for each level.
type warming struct {
	tree   *tree
	pace   func() error
	level  int
	deeper bool // there is something below the level
	reads  int
}

func (w *warming) full() bool { return w.tree.cache.bytes() >= w.tree.cache.limit()/8*7 }

func (w *warming) visit(r ref, depth, level int) error {
	k := not
	if level == w.level {
		k = asIfNew
	}
	n, err := w.tree.read(r, depth, k)
	if err != nil {
		return err
	}
	if level == w.level {
		w.deeper = w.deeper || n.bitmap != 0
		if w.reads++; w.reads%warmStep == 0 {
			return w.pace()
		}
		return nil
	}
	for _, kid := range n.children() {
		if w.enough() {
			break
		}
		if err := w.visit(kid, depth+int(n.pathLen)+1, level+1); err != nil {
			return err
		}
	}
	return nil
}

// enough is full, not asked for every node.
func (w *warming) enough() bool { return w.reads%16 == 0 && w.full() }
