package peer

import "fmt"

// role is what a connection is for; the dialler names it in its hello. Zero is no role.
type role byte

const (
	roleStream role = 1 // ordered one-way messages
	roleRPC    role = 2 // requests and their answers
	roleCount       = 3 // array size that any role indexes
)

func (r role) String() string {
	switch r {
	case roleStream:
		return "stream"
	case roleRPC:
		return "rpc"
	default:
		return fmt.Sprintf("role(%d)", byte(r))
	}
}

const (
	helloVersion  = 1
	maxHelloBytes = lengthBytes + 1 + 2 + 1 + maxIDBytes + 1 + maxIDBytes
	// maxGreetBytes bounds the frames of the greeting: a hello, a welcome, a refusal with its text.
	maxGreetBytes = max(maxHelloBytes, lengthBytes+1+maxErrorBytes)
)

// hello is the first frame of a connection. The ids prove nothing (the key did that); they catch two configurations
// that give one key different names.
type hello struct {
	role     role
	from, to string
}

func (h hello) encode() []byte {
	b := make([]byte, 0, maxHelloBytes)
	b = append(b, helloVersion, byte(h.role))
	b = append(b, byte(len(h.from)))
	b = append(b, h.from...)
	b = append(b, byte(len(h.to)))
	return append(b, h.to...)
}

func decodeHello(b []byte) (hello, error) {
	if len(b) < 2 {
		return hello{}, protocolError("short hello")
	}
	if b[0] != helloVersion {
		return hello{}, protocolError(fmt.Sprintf("hello version %d, this node knows %d", b[0], helloVersion))
	}
	h := hello{role: role(b[1])}
	if h.role != roleStream && h.role != roleRPC {
		return hello{}, protocolError(fmt.Sprintf("hello with unknown role %d", b[1]))
	}
	rest := b[2:]
	var ok bool
	if h.from, rest, ok = cutString(rest); !ok {
		return hello{}, protocolError("short hello")
	}
	if h.to, rest, ok = cutString(rest); !ok {
		return hello{}, protocolError("short hello")
	}
	if len(rest) != 0 {
		return hello{}, protocolError("bytes after the hello")
	}
	return h, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 1 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], true
}
