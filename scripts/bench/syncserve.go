package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	fastsync "github.com/baton-ha/baton/node/sync"
)

// startServe starts such a process, by what stands before its name on a command line, and returns the URLs.
func (l *launcher) startServe(before []string, folder string, mbits, listeners int) (p *process, urls []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	command := append(before, self, "sync-serve", folder, strconv.Itoa(mbits), strconv.Itoa(listeners))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdout = w
	p, err = l.start(cmd, false)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, nil, err
	}
	lines := bufio.NewReader(r)
	for range listeners {
		url, err := lines.ReadString('\n')
		if err != nil {
			p.stop()
			return nil, nil, fmt.Errorf("start the server: %w", err)
		}
		urls = append(urls, strings.TrimSpace(url))
	}
	return p, urls, nil
}

// serveSync is the process that serves both: what is in a folder, and as many bytes as one wants. It has so many
// listeners, each with a link of its own, and prints their URLs.
func serveSync(ctx context.Context, args []string) (err error) {
	if len(args) != 3 {
		return errors.New("sync-serve: a folder, the speed of a link, and how many listeners")
	}
	mbits, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	listeners, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	s, err := blockstore.Open(blockstore.Options{Dir: args[0], Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	zero, err := s.Block(0)
	if err != nil {
		return err
	}
	log := zerolog.New(os.Stderr)
	served := make(chan error, listeners)
	for range listeners {
		server := fastsync.NewServer(fastsync.ServerConfig{Store: s, ChainID: zero.Header.ChainID, Genesis: zero.Hash(), Logger: log})
		defer func() { err = errors.Join(err, server.Close()) }()
		mux := http.NewServeMux()
		mux.Handle("/sync/", server)
		mux.Handle("/plain", plain())
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println("http://" + l.Addr().String())
		h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = h.Close() })
		go func() { served <- h.Serve(&slowListener{l, &slowLink{perSec: float64(mbits) * 1e6 / 8}}) }()
	}
	for range listeners {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	}
	return nil
}

// plain answers with as many bytes as one wants.
func plain() http.HandlerFunc {
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte(rand.Uint32())
	}
	return func(w http.ResponseWriter, r *http.Request) {
		left, err := strconv.Atoi(r.URL.Query().Get("bytes"))
		for err == nil && left > 0 {
			var sent int
			sent, err = w.Write(chunk[:min(left, len(chunk))])
			left -= sent
		}
	}
}

// slowListener makes connections that share a link.
type slowListener struct {
	net.Listener
	link *slowLink
}

func (l *slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &slowConn{c, l.link}, err
}

type slowConn struct {
	net.Conn
	link *slowLink
}

func (c *slowConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), 32<<10)]
		c.link.take(len(part))
		var sent int
		sent, err = c.Conn.Write(part)
		n += sent
		b = b[sent:]
	}
	return n, err
}

// slowLink lets so many bytes a second through.
type slowLink struct {
	perSec float64
	mu     sync.Mutex
	free   time.Time
}

func (l *slowLink) take(n int) {
	if l.perSec <= 0 {
		return
	}
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.perSec * float64(time.Second)))
	wait := l.free.Sub(now) - 2*time.Millisecond // what a switch has room for
	l.mu.Unlock()
	if wait > 0 {
		t := time.NewTimer(wait)
		<-t.C
	}
}
