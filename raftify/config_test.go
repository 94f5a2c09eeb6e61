package raftify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

func threePeers() Config {
	c := DefaultConfig()
	c.ID = "a"
	c.Peers = []core.Peer{{ID: "a", Addr: "10.0.0.1:7000"}, {ID: "b", Addr: "10.0.0.2:7000"}, {ID: "c", Addr: "10.0.0.3:7000"}}
	c.PeerList = []string{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"}
	c.Expect = 3
	c.Encrypt = make([]byte, 32)
	return c
}

func TestValidate(t *testing.T) {
	alone := DefaultConfig()
	alone.ID = "a"
	if err := alone.Validate(); err != nil {
		t.Errorf("the default, alone: %v", err)
	}
	good := threePeers()
	if err := good.Validate(); err != nil {
		t.Errorf("three peers: %v", err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no id":           {func(c *Config) { c.ID = "" }, "id"},
		"id with a space": {func(c *Config) { c.ID = "a b" }, "printable"},
		"bind address":    {func(c *Config) { c.BindAddr = "" }, "bind_addr"},
		"bind port":       {func(c *Config) { c.BindPort = 0 }, "bind_port"},
		"advertise":       {func(c *Config) { c.AdvertiseAddr = "x y" }, "advertise_addr"},
		"peer list":       {func(c *Config) { c.PeerList = append(c.PeerList, "nohost") }, "peer_list[3]"},
		"peer address":    {func(c *Config) { c.Peers[1].Addr = "b:0" }, "peers[1]"},
		"twice":           {func(c *Config) { c.Peers[1].ID = "c" }, "twice"},
		"not among them":  {func(c *Config) { c.ID = "z" }, "must be among"},
		"max nodes":       {func(c *Config) { c.MaxNodes = 2 }, "max_nodes"},
		"expect too few":  {func(c *Config) { c.Expect = 1 }, "expect"},
		"expect too many": {func(c *Config) { c.Expect = 4 }, "expect"},
		"key size":        {func(c *Config) { c.Encrypt = make([]byte, 5) }, "16, 24 or 32"},
		"performance":     {func(c *Config) { c.Performance = 0 }, "performance"},
		"timing":          {func(c *Config) { c.Timing = &core.Timing{} }, "timing"},
		"kick after":      {func(c *Config) { c.KickAfter = -time.Second }, "kick_after"},
		"log level":       {func(c *Config) { c.LogLevel = "LOUD" }, "log_level"},
	} {
		c := threePeers()
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := threePeers()
	bad.BindPort, bad.Performance, bad.Encrypt = -1, -1, nil
	err := bad.Validate()
	if !errors.Is(err, ErrNoKey) {
		t.Errorf("no key with three peers: %v", err)
	}
	for _, want := range []string{"bind_port", "performance", "encrypt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
	listed := alone
	listed.PeerList = []string{"h:1", "i:1"}
	if err := listed.Validate(); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key with a peer list of two: %v", err)
	}
}

func TestOwnAddress(t *testing.T) {
	c := threePeers()
	if got := c.addr(); got != "10.0.0.1:7000" {
		t.Error(got)
	}
	c.AdvertiseAddr = "outside.example"
	if got := c.addr(); got != "outside.example:7000" {
		t.Error(got)
	}
	c.AdvertiseAddr = "outside.example:99"
	if got := c.addr(); got != "outside.example:99" {
		t.Error(got)
	}
	c.AdvertiseAddr = "fd00::1"
	if got := c.addr(); got != "[fd00::1]:7000" {
		t.Error(got)
	}
	c = DefaultConfig()
	if got := c.addr(); got != "127.0.0.1:7000" {
		t.Error(got)
	}
}
