package peer

import (
	"errors"
	"fmt"
)

var (
	// ErrUnknownPeer is returned when the destination is not among the configured peers. A node is not its own peer.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrNotConnected is returned when there is no connection to the peer now. Nothing was sent.
	ErrNotConnected = errors.New("peer is not connected")
	// ErrQueueFull is returned when the frames that wait for the peer have reached Config.QueueBytes or
	// Config.QueueFrames. Nothing was sent.
	ErrQueueFull = errors.New("send queue of the peer is full")
	// ErrTooLarge is returned when a payload is longer than Config.MaxPayloadBytes. Nothing was sent.
	ErrTooLarge = errors.New("payload is too large for a frame")
	// ErrInterrupted is returned when the connection was lost after a request was queued and before its answer came.
	// The other side may or may not have acted on the request.
	ErrInterrupted = errors.New("connection lost before the answer")
	// ErrClosed is returned when the link is closed. Nothing was sent.
	ErrClosed = errors.New("peer link is closed")
)

// RemoteError is the error that the other side's HandleRequest returned: only its text crosses the wire.
type RemoteError struct {
	Peer string // the id of the peer that answered
	Text string // at most maxErrorBytes long, valid UTF-8
}

// Error returns the text of the other side with its id in front.
func (e *RemoteError) Error() string { return e.Peer + ": " + e.Text }

// protocolError says that a peer sent bytes that the protocol does not allow. It ends the connection.
type protocolError string

func (e protocolError) Error() string { return "protocol: " + string(e) }

// refusal is an error that makes a node refuse a connection because of who the other side is or what it asked for.
type refusal string

func (e refusal) Error() string { return string(e) }

// invariant panics when ok is false: it judges this package's own code, never what came from outside.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("peer: invariant: " + fmt.Sprintf(format, args...))
	}
}
