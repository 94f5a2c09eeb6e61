package replication

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

var errAttachment = errors.New("attachment has the wrong length or version")

const (
	attachVersion = 1
	reportLen     = 1 + 8 + 8 + 32 + 1
	heartbeatLen  = 1 + 40 + 40 + 8
)

// heartbeat is the chain's part of a heartbeat: the leader's takeover, the newest commit counted in its term (zero:
// none yet) and its tip.
type heartbeat struct {
	take, commit Ref
	tip          block.Height
}

func putRef(b []byte, r Ref) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Height))
	return append(b, r.Hash[:]...)
}

func getRef(b []byte) (r Ref) {
	r.Height = block.Height(binary.BigEndian.Uint64(b))
	copy(r.Hash[:], b[8:])
	return r
}

// encodeReport makes a vote's attachment. lost says that the voter lacks blocks of the chain that it reports.
func encodeReport(r Report, lost bool) []byte {
	b := putRef(binary.BigEndian.AppendUint64([]byte{attachVersion}, uint64(r.Synced)), r.Tip)
	if lost {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeReport(b []byte) (r Report, lost bool, err error) {
	if len(b) != reportLen || b[0] != attachVersion || b[reportLen-1] > 1 {
		return Report{}, false, fmt.Errorf("report of %d bytes: %w", len(b), errAttachment)
	}
	return Report{core.Term(binary.BigEndian.Uint64(b[1:])), getRef(b[9:])}, b[reportLen-1] == 1, nil
}

func encodeHeartbeat(h heartbeat) []byte {
	b := putRef(putRef([]byte{attachVersion}, h.take), h.commit)
	return binary.BigEndian.AppendUint64(b, uint64(h.tip))
}

func decodeHeartbeat(b []byte) (heartbeat, error) {
	if len(b) != heartbeatLen || b[0] != attachVersion {
		return heartbeat{}, fmt.Errorf("heartbeat part of %d bytes: %w", len(b), errAttachment)
	}
	return heartbeat{take: getRef(b[1:]), commit: getRef(b[41:]), tip: block.Height(binary.BigEndian.Uint64(b[81:]))}, nil
}

// EncodeReport returns r as a vote carries it.
func EncodeReport(r Report) []byte { return encodeReport(r, false) }

// DecodeReport returns the report that a vote carries.
func DecodeReport(b []byte) (Report, error) {
	r, _, err := decodeReport(b)
	return r, err
}
