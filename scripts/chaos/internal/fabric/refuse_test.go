package fabric

import (
	"encoding/binary"
	"testing"
)

// packet makes an IPv4 packet from 10.0.0.1 to 10.0.0.2.
func packet(proto byte, body []byte) []byte {
	p := make([]byte, ipHeader+len(body))
	p[0], p[8], p[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(p[2:4], uint16(len(p)))
	copy(p[12:16], []byte{10, 0, 0, 1})
	copy(p[16:20], []byte{10, 0, 0, 2})
	copy(p[ipHeader:], body)
	return p
}

func segment(flags byte, seq, ack uint32, data int) []byte {
	s := make([]byte, tcpHeader+data)
	binary.BigEndian.PutUint16(s[0:2], 1111)
	binary.BigEndian.PutUint16(s[2:4], 7001)
	binary.BigEndian.PutUint32(s[4:8], seq)
	binary.BigEndian.PutUint32(s[8:12], ack)
	s[12], s[13] = tcpHeader/4<<4, flags
	return s
}

// good checks the addresses and the checksums of an answer and returns what is behind the IP header.
func good(t *testing.T, p []byte, proto byte) []byte {
	t.Helper()
	if p == nil {
		t.Fatal("no answer")
	}
	if p[9] != proto || [4]byte(p[12:16]) != [4]byte{10, 0, 0, 2} || [4]byte(p[16:20]) != [4]byte{10, 0, 0, 1} {
		t.Errorf("protocol %d from %v to %v", p[9], p[12:16], p[16:20])
	}
	if checksum(p[:ipHeader]) != 0 {
		t.Error("bad checksum of the IP header")
	}
	body := p[ipHeader:]
	check := body
	if proto == protoTCP {
		check = append(append([]byte{}, p[12:20]...), 0, protoTCP, 0, byte(len(body)))
		check = append(check, body...)
	}
	if checksum(check) != 0 {
		t.Error("bad checksum of the answer")
	}
	return body
}

func TestResetOfASyn(t *testing.T) {
	body := good(t, refusal(packet(protoTCP, segment(tcpSyn, 41, 0, 0))), protoTCP)
	if body[13] != tcpRst|tcpAck || binary.BigEndian.Uint32(body[8:12]) != 42 || binary.BigEndian.Uint16(body[0:2]) != 7001 {
		t.Errorf("answer is %v", body)
	}
}

func TestResetInsideAConnection(t *testing.T) {
	body := good(t, refusal(packet(protoTCP, segment(tcpAck, 41, 977, 100))), protoTCP)
	if body[13] != tcpRst || binary.BigEndian.Uint32(body[4:8]) != 977 {
		t.Errorf("answer is %v", body)
	}
}

func TestAResetIsNotAnswered(t *testing.T) {
	if a := refusal(packet(protoTCP, segment(tcpRst, 1, 0, 0))); a != nil {
		t.Errorf("answer is %v", a)
	}
}

func TestUnreachable(t *testing.T) {
	sent := packet(protoUDP, []byte{4, 87, 27, 88, 0, 12, 0, 0, 'd', 'a', 't', 'a'})
	body := good(t, refusal(sent), protoICMP)
	if body[0] != 3 || body[1] != 3 || string(body[icmpHeader:]) != string(sent[:ipHeader+udpHeader]) {
		t.Errorf("answer is %v", body)
	}
}

func TestShortPacketsAreNotAnswered(t *testing.T) {
	whole := packet(protoTCP, segment(tcpSyn, 1, 0, 0))
	for n := range whole {
		if a := refusal(whole[:n]); a != nil {
			t.Errorf("%d bytes are answered with %v", n, a)
		}
	}
}
