package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	nodesync "github.com/baton-ha/baton/node/sync"
)

// newSyncServer returns what serves this node's states and final blocks to others.
func newSyncServer(n *Node) *nodesync.Server {
	return nodesync.NewServer(nodesync.ServerConfig{
		Store: n.store, ChainID: n.cfg.Genesis.ChainID, Genesis: n.finals.genesis.Hash(),
		Hold: n.checkpoints.hold, Rate: int64(n.cfg.Sync.Rate),
		Logger:  n.log.With().Str("part", "sync").Logger(),
		Sent:    func(bytes int) { n.metrics.syncSent.Add(float64(bytes)) },
		Damaged: func(err error) { n.mender.found(err) },
	})
}

// serveReaders serves whoever is no member, read-only, on a listener of its own, until the node stops.
func (n *Node) serveReaders(ctx context.Context) error {
	addr := n.cfg.Sync.Listen
	if addr == "" {
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for readers on %s: %w", addr, err)
	}
	if c := n.cfg.API.Certificate; c != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*c}, NextProtos: []string{nodesync.ALPN, "http/1.1"}, MinVersion: tls.VersionTLS12})
	}
	srv := &http.Server{Handler: n.syncServer, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	n.readers.Store(&addrOf{ln.Addr()})
	n.log.Info().Stringer("addr", ln.Addr()).Msg("serving states and final blocks to readers")
	n.wg.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("serve readers: %w", err))
		}
	})
	n.wg.Go(func() {
		<-n.ctx.Done()
		_ = srv.Close()
	})
	return nil
}

type addrOf struct{ net.Addr }

// ReadersAddr returns the address on which readers are served, nil while there is none.
func (n *Node) ReadersAddr() net.Addr {
	if a := n.readers.Load(); a != nil {
		return a.Addr
	}
	return nil
}
