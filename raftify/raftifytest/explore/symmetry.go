package explore

import (
	"slices"

	"github.com/baton-ha/baton/raftify/core"
)

// perm renames nodes: i becomes perm[i].
type perm [maxNodes]uint8

func (p perm) of(id core.NodeID) core.NodeID {
	if i := indexOf(id); i >= 0 && i < maxNodes {
		return idOf(int(p[i]))
	}
	return id
}

// group returns the renamings under which the bounds and the first state are the same, the identity first. Pre-votes prefer
// smaller ids, so with them there is no other.
func (c Config) group() []perm {
	id := perm{0, 1, 2, 3}
	if c.PreVotes || c.Asymmetric {
		return []perm{id}
	}
	var out []perm
	var build func(p perm, i int)
	build = func(p perm, i int) {
		if i == c.Nodes {
			if c.unchangedBy(p) {
				out = append(out, p)
			}
			return
		}
		for j := i; j < c.Nodes; j++ {
			q := p
			q[i], q[j] = q[j], q[i]
			build(q, i+1)
		}
	}
	build(id, 0)
	return out
}

func (c Config) unchangedBy(p perm) bool {
	for i := range c.Nodes {
		j := int(p[i])
		if c.Voters > 0 && (i < c.Voters) != (j < c.Voters) {
			return false
		}
		if t := c.Timed; t != nil && t.Rates != nil && t.Rates[i] != t.Rates[j] {
			return false
		}
	}
	for _, ch := range c.Changes {
		if c.changeIndex(ch.Kind, p.of(ch.Member.ID)) < 0 {
			return false
		}
	}
	if c.Elected && p[0] != 0 {
		return false
	}
	return c.CrashOnly == "" || p.of(c.CrashOnly) == c.CrashOnly
}

func (c Config) changeIndex(k core.ChangeKind, id core.NodeID) int {
	return slices.IndexFunc(c.Changes, func(o core.Change) bool { return o.Kind == k && o.Member.ID == id })
}

// image is a local of a node as it is of the renamed one: what the renamed actions lead to.
func (m *machine) image(g int, id uint32) uint32 {
	if g == 0 {
		return id
	}
	l := m.locals[id]
	if len(l.images) == 0 {
		l.images = make([]uint32, len(m.group))
	}
	if x := l.images[g]; x > 0 {
		return x - 1
	}
	var x uint32
	if l.by.kind == 0 {
		x = m.roots[m.group[g][l.node]]
	} else {
		x = m.apply(m.image(g, l.from), m.imageOf(m.group[g], l.by))
	}
	l.images[g] = x + 1
	return x
}

func (m *machine) imageOf(p perm, a action) action {
	a.node = p[a.node]
	switch a.kind {
	case actDeliver:
		a.arg = m.renamed(p, a.arg)
	case actReconfig:
		ch := m.cfg.Changes[a.arg]
		a.arg = uint32(m.cfg.changeIndex(ch.Kind, p.of(ch.Member.ID)))
	case actTransfer:
		a.arg = uint32(p[a.arg])
	default: // names nobody but the node itself
	}
	return a
}

// renamed is a message with all names in it changed.
func (m *machine) renamed(p perm, id uint32) uint32 {
	msg := m.msgs[id]
	from := indexOf(msg.From)
	msg.Session = msg.Session - uint64(from) + uint64(p[from])
	msg.Inc[0] = p[from] + 1
	msg.From, msg.To = p.of(msg.From), p.of(msg.To)
	if msg.Cfg != nil {
		cfg := renamedConfig(p, *msg.Cfg)
		msg.Cfg = &cfg
	}
	if msg.Type == core.MsgVoteResp && msg.OK {
		msg.Attachment = []byte(promised(msg.Term, msg.To))
	}
	return m.message(msg)
}

func renamedConfig(p perm, cfg core.Config) core.Config {
	ms := slices.Clone(cfg.Members)
	for i := range ms {
		ms[i].Inc[0] = p[indexOf(ms[i].ID)] + 1
		ms[i].ID = p.of(ms[i].ID)
		ms[i].Addr = addrOf(ms[i].ID)
	}
	ps := slices.Clone(cfg.Pins)
	for i := range ps {
		ps[i].ID = p.of(ps[i].ID)
	}
	return core.NewConfig(cfg.Key, ms, ps...)
}

// canonical replaces a state by the smallest of those that it becomes by renaming, and notes by which.
func (m *machine) canonical(st *state) {
	if len(m.group) == 1 {
		return
	}
	best, by := st.at, 0
	for g := 1; g < len(m.group); g++ {
		var at [maxNodes]uint32
		for a := range m.cfg.Nodes {
			at[m.group[g][a]] = m.image(g, st.at[a])
		}
		if slices.Compare(at[:], best[:]) < 0 {
			best, by = at, g
		}
	}
	st.at, st.perm = best, uint8(by)
}

// orbit is how many states a canonical one stands for: one for each renaming but for those that change nothing.
func (m *machine) orbit(st *state) int {
	same := 0
	for g, p := range m.group {
		keeps := true
		for a := range m.cfg.Nodes {
			keeps = keeps && m.image(g, st.at[a]) == st.at[p[a]]
		}
		if keeps {
			same++
		}
	}
	return len(m.group) / same
}

// after is p and then q.
func (p perm) after(q perm) (r perm) {
	for i := range r {
		r[i] = p[q[i]]
	}
	return r
}

func (p perm) inverse() (r perm) {
	for i, j := range p {
		r[j] = uint8(i)
	}
	return r
}
