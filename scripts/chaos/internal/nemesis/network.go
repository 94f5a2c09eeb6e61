package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/fabric"
)

func networkKinds() []Kind {
	return []Kind{
		{
			Name: "leader-in-minority", Class: Network, Least: 3, Short: true,
			Text: "two halves, the leader in the smaller one", inject: halves(true),
		},
		{
			Name: "leader-in-majority", Class: Network, Least: 3, Short: true,
			Text: "two halves, the leader in the larger one", inject: halves(false),
		},
		{
			Name: "isolate-leader", Class: Network, Least: 3, Short: true,
			Text: "the leader reaches nobody, not even clients", inject: isolate(fabric.Drop),
		},
		{
			Name: "isolate-leader-reject", Class: Network, Least: 3, Short: true,
			Text: "the same, with refusals instead of silence", inject: isolate(fabric.Reject),
		},
		{
			Name: "deaf-leader", Class: Network, Least: 3, Short: true,
			Text: "the leader is heard and hears nobody", inject: oneSided(true, true),
		},
		{
			Name: "mute-leader", Class: Network, Least: 3, Short: true,
			Text: "the leader hears and is heard by nobody", inject: oneSided(true, false),
		},
		{
			Name: "deaf-follower", Class: Network, Least: 3,
			Text: "a follower is heard and hears nobody", inject: oneSided(false, true),
		},
		{
			Name: "mute-follower", Class: Network, Least: 3,
			Text: "a follower hears and is heard by nobody", inject: oneSided(false, false),
		},
		{
			Name: "chain", Class: Network, Least: 3, Short: true,
			Text: "each node sees its neighbours in a line only, the leader at its end (Omni-Paxos: chained)", inject: chained,
		},
		{
			Name: "quorum-loss", Class: Network, Least: 5, Short: true,
			Text: "all see one follower only, the leader has no quorum (Omni-Paxos)", inject: quorumLoss,
		},
		{
			Name: "constrained-election", Class: Network, Least: 5, Short: true,
			Text: "the leader sees nobody, the others one of them that lags (Omni-Paxos)", inject: constrained,
		},
		{
			Name: "bridge", Class: Network, Least: 5,
			Text: "two halves, and one node that sees both", inject: bridge,
		},
		{
			Name: "one-link", Class: Network, Least: 3,
			Text: "one link of the leader is cut, all others work", inject: oneLink(fabric.Drop),
		},
		{
			Name: "one-link-reject", Class: Network, Least: 3,
			Text: "the same with refusals", inject: oneLink(fabric.Reject),
		},
		{
			Name: "flapping", Class: Network, Least: 3, Short: true,
			Text: "links go and come every few hundred milliseconds", inject: flapping,
		},
		{
			Name: "slow-links", Class: Network, Least: 3, Short: true,
			Text: "up to 200 ms each way between some pairs", inject: slowLinks,
		},
		{
			Name: "lossy-links", Class: Network, Least: 3, Short: true,
			Text: "packets are lost, repeated and overtake each other, everywhere", inject: lossy,
		},
		{
			Name: "large-packets", Class: Network, Least: 3, Short: true,
			Text: "heartbeats pass, full packets of the leader do not", inject: largePackets,
		},
		{
			Name: "blackout", Class: Network, Least: 3, Solo: true, Short: true,
			Text: "no packet passes between any nodes", inject: blackout,
		},
		{
			Name: "clients-cut", Class: Network, Least: 3,
			Text: "clients do not reach the leader, nodes do", inject: clientsCut,
		},
	}
}

type injector = func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error)

// layer makes the active fault of rules on links.
func (w *World) layer(detail string, targets []int, rules []linkRule) *Active {
	heal := w.lay(rules...)
	a := &Active{Detail: detail, Heal: func(context.Context) error { heal(); return nil }}
	for _, i := range targets {
		a.Targets = append(a.Targets, w.label(i))
	}
	return a
}

// others returns the nodes but some, shuffled.
func (w *World) others(rng *rand.Rand, but ...int) []int {
	rest := slices.DeleteFunc(w.nodes(), func(i int) bool { return slices.Contains(but, i) })
	rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return rest
}

func halves(leaderInMinority bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		lead, err := w.leader(ctx)
		if err != nil {
			return nil, err
		}
		rest := w.others(rng, lead)
		small := (len(rest) + 1 - 1) / 2 // the largest minority
		a, b := rest[:small], append(rest[small:], lead)
		if leaderInMinority {
			a, b = append(rest[:small-1:small-1], lead), rest[small-1:]
		}
		cut, how := fabric.Drop, "dropped"
		if rng.IntN(3) == 0 {
			cut, how = fabric.Reject, "rejected"
		}
		return w.layer(fmt.Sprintf("%s | %s, %s", w.name(a...), w.name(b...), how), a, between(a, b, fabric.Rule{Cut: cut})), nil
	}
}

func isolate(cut fabric.Cut) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		lead, err := w.leader(ctx)
		if err != nil {
			return nil, err
		}
		rest := append(w.others(rng, lead), w.Home)
		return w.layer(w.name(lead)+" alone", []int{lead}, between([]int{lead}, rest, fabric.Rule{Cut: cut})), nil
	}
}

func oneSided(leader, deaf bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		pick := func() (int, error) { return w.follower(ctx, rng) }
		if leader {
			pick = func() (int, error) { return w.leader(ctx) }
		}
		who, err := pick()
		if err != nil {
			return nil, err
		}
		rest := w.others(rng, who)
		rule := fabric.Rule{Cut: fabric.Drop}
		if deaf {
			return w.layer(w.name(who)+" hears no node", []int{who}, oneWay(rest, []int{who}, rule)), nil
		}
		return w.layer("no node hears "+w.name(who), []int{who}, oneWay([]int{who}, rest, rule)), nil
	}
}

// chained leaves only the links between neighbours in a line.
func chained(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	line := append([]int{lead}, w.others(rng, lead)...)
	var rules []linkRule
	for i, a := range line {
		for j, b := range line {
			if max(i-j, j-i) > 1 {
				rules = append(rules, linkRule{a, b, fabric.Rule{Cut: fabric.Drop}})
			}
		}
	}
	detail := ""
	for i, n := range line {
		if i > 0 {
			detail += " - "
		}
		detail += w.name(n)
	}
	return w.layer(detail, line, rules), nil
}

// star leaves only the links of a hub, and none at all of those that are out.
func (w *World) star(hub int, out ...int) []linkRule {
	var rules []linkRule
	for _, a := range w.nodes() {
		for _, b := range w.nodes() {
			if a != b && (a != hub && b != hub || slices.Contains(out, a) || slices.Contains(out, b)) {
				rules = append(rules, linkRule{a, b, fabric.Rule{Cut: fabric.Drop}})
			}
		}
	}
	return rules
}

func quorumLoss(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	hub, err := w.follower(ctx, rng)
	if err != nil {
		return nil, err
	}
	return w.layer("all see "+w.name(hub)+" only", []int{hub}, w.star(hub)), nil
}

func constrained(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	hub, err := w.follower(ctx, rng)
	if err != nil {
		return nil, err
	}
	// The hub falls behind first, while the others go on.
	lag := w.lay(oneWay([]int{lead}, []int{hub}, fabric.Rule{Cut: fabric.Drop})...)
	wait(ctx, time.Second)
	a := w.layer(fmt.Sprintf("%s alone, the others see %s only, which lags", w.name(lead), w.name(hub)), []int{lead, hub}, w.star(hub, lead))
	lag()
	return a, nil
}

func bridge(_ context.Context, w *World, rng *rand.Rand) (*Active, error) {
	all := w.others(rng)
	mid, rest := all[0], all[1:]
	a, b := rest[:len(rest)/2], rest[len(rest)/2:]
	return w.layer(fmt.Sprintf("%s | %s, %s sees both", w.name(a...), w.name(b...), w.name(mid)), all,
		between(a, b, fabric.Rule{Cut: fabric.Drop})), nil
}

func oneLink(cut fabric.Cut) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		lead, err := w.leader(ctx)
		if err != nil {
			return nil, err
		}
		other := w.others(rng, lead)[0]
		return w.layer(w.name(lead)+" | "+w.name(other), []int{lead, other},
			between([]int{lead}, []int{other}, fabric.Rule{Cut: cut})), nil
	}
}

func flapping(_ context.Context, w *World, rng *rand.Rand) (*Active, error) {
	all := w.others(rng)
	var links []linkRule
	for i, a := range all {
		for _, b := range all[:i] {
			if rng.IntN(2) == 0 || len(links) == 0 {
				links = append(links, between([]int{a}, []int{b}, fabric.Rule{Cut: fabric.Drop})...)
			}
		}
	}
	seed := rng.Uint64()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(seed, 0))
		for {
			heal := w.lay(links...)
			stopped := pause(stop, time.Duration(50+rng.IntN(700))*time.Millisecond)
			heal()
			if stopped || pause(stop, time.Duration(50+rng.IntN(400))*time.Millisecond) {
				return
			}
		}
	}()
	a := &Active{Detail: fmt.Sprintf("%d links", len(links)/2), Heal: func(context.Context) error {
		close(stop)
		<-done
		return nil
	}}
	for _, l := range links {
		if l.from < l.to {
			a.Targets = append(a.Targets, w.name(l.from)+"-"+w.name(l.to))
		}
	}
	return a, nil
}

// pause waits; true when stop was closed.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-stop:
		return true
	}
}

func slowLinks(_ context.Context, w *World, rng *rand.Rand) (*Active, error) {
	var rules []linkRule
	var targets []int
	all := w.others(rng)
	for i, a := range all {
		for _, b := range all[:i] {
			if len(rules) > 0 && rng.IntN(2) == 0 {
				continue
			}
			delay := time.Duration(20+rng.IntN(180)) * time.Millisecond
			rules = append(rules, between([]int{a}, []int{b}, fabric.Rule{Delay: delay, Jitter: delay / 10})...)
			targets = append(targets, a, b)
		}
	}
	slices.Sort(targets)
	return w.layer(fmt.Sprintf("%d pairs", len(rules)/2), slices.Compact(targets), rules), nil
}

func lossy(_ context.Context, w *World, rng *rand.Rand) (*Active, error) {
	r := fabric.Rule{
		Loss: 0.02 + 0.2*rng.Float64(), Repeat: 0.1 * rng.Float64(),
		Jitter: time.Duration(1+rng.IntN(30)) * time.Millisecond,
	}
	all := w.nodes()
	return w.layer(fmt.Sprintf("%.0f%% lost, %.0f%% repeated, up to %v late", 100*r.Loss, 100*r.Repeat, r.Jitter), all,
		oneWay(all, all, r)), nil
}

func largePackets(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	size := 300 + rng.IntN(900)
	return w.layer(fmt.Sprintf("packets of %s over %d bytes", w.name(lead), size), []int{lead},
		oneWay([]int{lead}, w.others(rng, lead), fabric.Rule{MaxBytes: size})), nil
}

func blackout(_ context.Context, w *World, _ *rand.Rand) (*Active, error) {
	all := w.nodes()
	return w.layer("all links", all, oneWay(all, all, fabric.Rule{Cut: fabric.Drop})), nil
}

func clientsCut(ctx context.Context, w *World, _ *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	return w.layer("clients | "+w.name(lead), []int{lead}, between([]int{lead}, []int{w.Home}, fabric.Rule{Cut: fabric.Drop})), nil
}
