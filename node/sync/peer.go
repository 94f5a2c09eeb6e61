package sync

import (
	"context"
	"net"
	"net/http"
)

// Peer is one who serves: a [Server] that is reached over HTTP.
type Peer struct {
	// Name stands in logs and errors; one peer's is no other's.
	Name string
	// URL is where the paths of the protocol begin: https://node2, http://10.0.0.1:7004/some/folder.
	URL string
	// Client makes the requests; [LinkClient] for a node's peer port. Nil is a plain one.
	Client *http.Client
	// Member says that the peer is an authenticated processor of this cluster. Only a member's word counts for the term of
	// a commit certificate, which no signature covers: see [Offer].
	Member bool
}

// ALPN is the name under which [Server.ServeConn] is registered with the peer link, and which [LinkClient] dials.
const ALPN = "h2"

// LinkClient returns a client whose connections dial makes, each a *tls.Conn that has agreed on [ALPN] (peer.Link.Dial).
// Call its CloseIdleConnections when it is of no use any more.
func LinkClient(dial func(ctx context.Context) (net.Conn, error)) *http.Client {
	t := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }, ForceAttemptHTTP2: true,
	}
	return &http.Client{Transport: t}
}
