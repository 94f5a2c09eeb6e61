package api

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The limiter against the plain way to say it: a bucket that fills with time.
func TestLimiterIsABucket(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1000, 0)
	const perSecond, burst = 10, 25
	l := newLimiter(perSecond, burst, func() time.Time { return now })
	type bucket struct {
		tokens float64
		at     time.Time
	}
	model := map[string]*bucket{}
	taken, refused := 0, 0
	for range 20_000 {
		now = now.Add(time.Duration(rng.IntN(40)) * time.Millisecond)
		client := fmt.Sprintf("10.0.0.%d:%d", rng.IntN(2), 1000+rng.IntN(1000))
		host := client[:len("10.0.0.0")]
		b := model[host]
		if b == nil {
			b = &bucket{burst, now}
			model[host] = b
		}
		b.tokens = min(burst, b.tokens+perSecond*now.Sub(b.at).Seconds())
		b.at = now
		wait, ok := l.take(client)
		if ok != (b.tokens > 1-1e-6) {
			t.Fatalf("at %v: taken %v with %f tokens", now, ok, b.tokens)
		}
		if ok {
			b.tokens--
			taken++
			continue
		}
		refused++
		if want := time.Duration((1 - b.tokens) / perSecond * float64(time.Second)); (wait - want).Abs() > time.Millisecond {
			t.Fatalf("wait %v, want %v", wait, want)
		}
	}
	if taken == 0 || refused == 0 {
		t.Fatalf("%d taken, %d refused: the test tried nothing", taken, refused)
	}
	l.set(0, 0)
	for range 1000 {
		if _, ok := l.take("10.0.0.1:1"); !ok {
			t.Fatal("refused without a limit")
		}
	}
}

// However many addresses there are, so many are remembered; one that is in debt stays in debt while others come.
func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(1, 1, func() time.Time { return now })
	l.max = 100
	for i := range 10_000 {
		l.take(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
		if n := len(l.young) + len(l.old); n > 2*l.max {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
	if _, ok := l.take("192.0.2.1:1"); !ok {
		t.Fatal("the first request is refused")
	}
	for i := range l.max - 1 {
		l.take(fmt.Sprintf("10.9.%d.%d:1", i>>8, i&255))
	}
	if _, ok := l.take("192.0.2.1:2"); ok {
		t.Error("a debt is forgotten though there is room")
	}
}

func TestClientAddr(t *testing.T) {
	for _, same := range [][2]string{
		{"10.0.0.1:80", "10.0.0.1:81"}, {"[::ffff:10.0.0.1]:5", "10.0.0.1:6"}, {"[2001:db8::1]:1", "[2001:db8::2]:1"}, {"[fe80::1%eth0]:1", "[fe80::1%eth1]:1"},
	} {
		if clientAddr(same[0]) != clientAddr(same[1]) {
			t.Errorf("%s and %s are two clients", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"10.0.0.1:80", "10.0.0.2:80"}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1"}} {
		if clientAddr(other[0]) == clientAddr(other[1]) {
			t.Errorf("%s and %s are one client", other[0], other[1])
		}
	}
}
