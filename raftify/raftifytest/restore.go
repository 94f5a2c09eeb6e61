package raftifytest

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Backup copies the folder of a node as it is on its disk now. The node may run.
func (c *Cluster) Backup(id core.NodeID) {
	n := c.Node(id)
	hs := n.durable
	n.backup = &hs
	c.trace("%s is backed up: boot %d, term %d, vote %v", id, hs.Boot, hs.Term, hs.Vote)
}

// Restore crashes a node and puts the folder of its last backup in the place of its own. From then on the checker demands
// that it uses no right of the folder.
func (c *Cluster) Restore(id core.NodeID) {
	n := c.Node(id)
	c.Crash(id)
	n.durable, n.old = *n.backup, true
	c.Checker.Restored(n.durable.Inc)
	c.trace("%s is restored: boot %d, term %d, vote %v", id, n.durable.Boot, n.durable.Term, n.durable.Vote)
}

// gaveUp is a process that ends because it heard that its folder is an old one.
func (c *Cluster) gaveUp(n *Node) {
	c.Count["restored folder found"]++
	if !c.Checker.restored[n.durable.Inc] {
		c.Checker.Fail(c.now, "R3", "%s gives up a folder that nobody restored", n.ID)
	}
	c.Crash(n.ID)
}

// mayRestore reports whether the old folder would be found by the rule, and whether the cluster can do without the disk: a
// member that the backup names runs, can answer at once, and remembers a later start of the node or a higher term than the backup has.
func (c *Cluster) mayRestore(n *Node) bool {
	b := n.backup
	if b.Inc != n.durable.Inc || n.old || b.Cfg.Key.Ver == 0 || !c.mayWipe(n) {
		return false
	}
	return c.witness(n) != nil
}

func (c *Cluster) witness(n *Node) *Node {
	for _, o := range c.nodes {
		if _, named := n.backup.Cfg.Member(o.ID); o == n || o.core == nil || o.Disk.Pending() > 0 || !named {
			continue
		}
		if m, _ := o.core.Status().Cfg.Member(n.ID); m.Inc != n.backup.Inc {
			continue
		}
		if boot, term := o.core.Known(n.ID); boot > n.backup.Boot || term > n.backup.Term {
			return o
		}
	}
	return nil
}

// restore puts an old folder in a node's place while one that remembers can be asked: nothing else goes wrong for as long
// as a start asks. What became of it is then what the operator is told to do: an empty folder.
func (c *Cluster) restore(n *Node) {
	c.Count["restored folder"]++
	o := c.witness(n)
	if boot, _ := o.core.Known(n.ID); boot <= n.backup.Boot {
		c.Count["restored folder known by its term"]++
	}
	c.repair(o)
	c.repair(n)
	rates := c.Net.Rates
	c.Net.Rates.Loss, c.Net.Rates.Slow, c.Net.Rates.MaxDelay = 0, 0, min(rates.MaxDelay, c.timing.MinElection/10)
	c.Net.Mend(c.now, o.ID, n.ID)
	c.Net.Mend(c.now, n.ID, o.ID)
	c.Restore(n.ID)
	wait := 2 * c.timing.MinElection
	c.calm = c.now + wait
	c.Start(n.ID)
	c.After(wait, func() {
		c.Net.Rates = rates
		if n.core != nil {
			c.Checker.Fail(c.now, "R3", "%s runs on an old folder %v after its start, though %s knows", n.ID, wait, o.ID)
			return
		}
		c.LoseDisk(n.ID)
		n.old = false
		c.After(c.Rand.Between(time.Millisecond, time.Second), func() { c.Start(n.ID) })
	})
}
