package nodetest

import (
	"math/rand/v2"

	"github.com/baton-ha/baton/raftify/core"
)

// drawDeaths gives some runs supervisors, which tell the others when a process of theirs was killed (PROTOCOL R23a), and
// notices that come late, again or with a wrong start in them. It has a source of chance of its own, as drawMembers has.
func (s *sim) drawDeaths(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0xdead))
	if r.IntN(3) > 0 {
		return
	}
	s.set.faults = append(s.set.faults, faultKill, faultNotice)
	s.count.drawn["supervisors"]++
}

// kill ends a process; its supervisor sees it.
func (n *node) kill(keep int) {
	if !n.up {
		return
	}
	d := n.el.Death()
	n.stop(keep)
	n.s.deaths = append(n.s.deaths, d)
	for _, o := range n.s.nodes {
		n.s.notify(o, d)
	}
}

// notify sends a death notice from the host that it is about.
func (s *sim) notify(to *node, d core.Death) {
	from := s.byID[d.ID]
	if to == from {
		return
	}
	s.count.hit("death notice")
	s.net.send(&packet{from: from, to: to, el: &core.Message{Type: core.MsgDeath, Header: core.Header{From: d.ID, To: to.id}, Dead: &d}})
}

// strayNotice repeats a notice of long ago, or makes one that no supervisor said: the start of it never was.
func (s *sim) strayNotice(about *node) {
	to := s.anyNode()
	if len(s.deaths) > 0 && s.rng.IntN(3) > 0 {
		s.count.hit("death notice repeated")
		s.notify(to, s.deaths[s.rng.IntN(len(s.deaths))])
		return
	}
	if !about.up {
		return
	}
	d := about.el.Death()
	switch {
	case s.rng.IntN(2) == 0:
		d.Session++
	case d.Boot > 1:
		d.Boot--
		d.Session = s.rng.Uint64()
	default:
		d.Inc[0] ^= 0xff
	}
	s.count.hit("false death notice")
	s.notify(to, d)
}
