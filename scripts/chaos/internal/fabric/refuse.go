package fabric

import "encoding/binary"

// Sizes in bytes of headers without options.
const (
	ipHeader   = 20
	tcpHeader  = 20
	icmpHeader = 8
	udpHeader  = 8
)

// Protocols of IPv4.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// Flags of TCP.
const (
	tcpFin = 1 << 0
	tcpSyn = 1 << 1
	tcpRst = 1 << 2
	tcpAck = 1 << 4
)

// refusal returns the packet with which a firewall's REJECT would answer p, nil for none: a reset for TCP, "port
// unreachable" for UDP.
func refusal(p []byte) []byte {
	if len(p) < ipHeader || p[0]>>4 != 4 {
		return nil
	}
	ihl := int(p[0]&0x0f) * 4
	fragment := binary.BigEndian.Uint16(p[6:8]) & 0x1fff
	if ihl < ipHeader || len(p) < ihl || fragment != 0 {
		return nil
	}
	switch p[9] {
	case protoTCP:
		return reset(p, p[ihl:])
	case protoUDP:
		return unreachable(p, ihl)
	default:
		return nil
	}
}

// reset answers a segment as RFC 9293 has a closed port do, so that the sender believes it.
func reset(ip, seg []byte) []byte {
	if len(seg) < tcpHeader {
		return nil
	}
	flags := seg[13]
	offset := int(seg[12]>>4) * 4
	if flags&tcpRst != 0 || offset < tcpHeader || len(seg) < offset {
		return nil
	}
	out := answer(ip, protoTCP, tcpHeader)
	t := out[ipHeader:]
	copy(t[0:2], seg[2:4])
	copy(t[2:4], seg[0:2])
	t[12] = tcpHeader / 4 << 4
	if flags&tcpAck != 0 {
		copy(t[4:8], seg[8:12]) // its acknowledgement is the number that it expects next
		t[13] = tcpRst
	} else {
		length := uint32(len(seg) - offset)
		if flags&tcpSyn != 0 {
			length++
		}
		if flags&tcpFin != 0 {
			length++
		}
		binary.BigEndian.PutUint32(t[8:12], binary.BigEndian.Uint32(seg[4:8])+length)
		t[13] = tcpRst | tcpAck
	}
	pseudo := make([]byte, 0, 12+tcpHeader)
	pseudo = append(pseudo, out[12:20]...)
	pseudo = append(pseudo, 0, protoTCP, 0, tcpHeader)
	pseudo = append(pseudo, t...)
	binary.BigEndian.PutUint16(t[16:18], checksum(pseudo))
	return out
}

// unreachable is ICMP's answer for a port that nobody listens on. It quotes the head of what it answers.
func unreachable(ip []byte, ihl int) []byte {
	quoted := ip[:min(len(ip), ihl+udpHeader)]
	out := answer(ip, protoICMP, icmpHeader+len(quoted))
	c := out[ipHeader:]
	c[0], c[1] = 3, 3
	copy(c[icmpHeader:], quoted)
	binary.BigEndian.PutUint16(c[2:4], checksum(c))
	return out
}

// answer makes an IPv4 packet back to the sender of ip, with room for size bytes behind the header.
func answer(ip []byte, proto byte, size int) []byte {
	out := make([]byte, ipHeader+size)
	out[0], out[8], out[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(out[2:4], uint16(len(out)))
	copy(out[12:16], ip[16:20])
	copy(out[16:20], ip[12:16])
	binary.BigEndian.PutUint16(out[10:12], checksum(out[:ipHeader]))
	return out
}

// checksum is the Internet checksum of b, whose own checksum field is zero.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
