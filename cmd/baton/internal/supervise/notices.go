package supervise

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// again are the times after a death at which the notice is sent: packets get lost, and a node may be busy.
var again = [...]time.Duration{
	0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond,
	300 * time.Millisecond, time.Second,
}

// resolveTimeout bounds the look-up of the names of targets.
const resolveTimeout = 2 * time.Second

// will is what there is to say when a worker dies, with a socket to each of those who are to hear it: in that moment
// nothing is looked up or opened. Safe for concurrent use.
type will struct {
	mu     sync.Mutex
	notice []byte
	conns  map[string]net.Conn
}

func (w *will) write(notice []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notice = notice
}

// aim opens sockets to the targets and closes those to others. A name that cannot be resolved now is left for the next
// time. It blocks for look-ups.
func (w *will) aim(ctx context.Context, targets []string) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, t := range targets {
		w.mu.Lock()
		_, ok := w.conns[t]
		w.mu.Unlock()
		if ok {
			continue
		}
		c, err := new(net.Dialer).DialContext(ctx, "udp", t)
		if err != nil {
			continue
		}
		w.mu.Lock()
		if w.conns == nil {
			w.conns = map[string]net.Conn{}
		}
		w.conns[t] = c
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for t, c := range w.conns {
		if !slices.Contains(targets, t) {
			_ = c.Close()
			delete(w.conns, t)
		}
	}
}

// send sends the notice once to everybody, and reports whether there is one.
func (w *will) send() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notice) == 0 {
		return false
	}
	for _, c := range w.conns {
		if _, err := c.Write(w.notice); err != nil {
			_, _ = c.Write(w.notice) // the first told of an earlier packet that nobody took
		}
	}
	return true
}

func (w *will) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// publish sends the notice now, and again in the background; the returned function waits for that, or ends it early.
func (w *will) publish() (wait func(ctx context.Context)) {
	if !w.send() {
		w.close()
		return func(context.Context) {}
	}
	start, hurry, done := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer w.close()
		for _, at := range again[1:] {
			t := time.NewTimer(time.Until(start.Add(at)))
			select {
			case <-t.C:
				w.send()
			case <-hurry:
				t.Stop()
				return
			}
		}
	}()
	var once sync.Once
	return func(ctx context.Context) {
		select {
		case <-done:
		case <-ctx.Done():
			once.Do(func() { close(hurry) })
			<-done
		}
	}
}
