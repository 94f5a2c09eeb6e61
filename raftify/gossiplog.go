package raftify

import (
	"log"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// gossipLog turns memberlist's lines ("[WARN] memberlist: text") into records of our log. Lines that begin alike are
// let through once in a while: a stranger who knocks with a wrong key must not fill the disk.
type gossipLog struct {
	log   zerolog.Logger
	limit *limiter
}

func newGossipLog(l zerolog.Logger) *log.Logger {
	return log.New(&gossipLog{log: l, limit: newLimiter(10 * time.Second)}, "", 0)
}

// Write takes one line.
func (g *gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := zerolog.InfoLevel
	if tag, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(tag, "[") {
		text = rest
		switch tag[1:] {
		case "DEBUG":
			level = zerolog.DebugLevel
		case "WARN":
			level = zerolog.WarnLevel
		case "ERR", "ERROR":
			level = zerolog.ErrorLevel
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if level >= g.log.GetLevel() && g.limit.allow(text[:min(len(text), 40)]) {
		g.log.WithLevel(level).Str("part", "gossip").Msg(text)
	}
	return len(line), nil
}
