package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLineBytes bounds what a worker says at once: 64 members with addresses of 256 bytes, and some.
const maxLineBytes = 64 << 10

// Descriptors of a worker.
const (
	toSupervisor   = 3
	fromSupervisor = 4
)

// What a supervisor says.
const (
	stopLine   = "stop\n"
	reloadLine = "reload\n"
)

// Hello is what a worker says when it has become a node.
type Hello struct {
	// Notice is the signed death notice of this start, one UDP packet.
	Notice []byte `json:"notice"`
	// LogLevel and LogFormat are those of the node's configuration: the supervisor logs alike.
	LogLevel  string `json:"log_level"`
	LogFormat string `json:"log_format"`
}

// message is one line of a worker. Exactly one field is set.
type message struct {
	Hello    *Hello   `json:"hello,omitempty"`
	Targets  []string `json:"targets,omitempty"`
	Ready    bool     `json:"ready,omitempty"`
	Stopping bool     `json:"stopping,omitempty"`
	Turned   bool     `json:"turned,omitempty"`
	// Reloading is when, on the machine's monotonic clock in microseconds, it began to read its configuration again; Ready
	// ends that.
	Reloading int64 `json:"reloading,omitempty"`
	// Level is how it logs from now on.
	Level *Level `json:"level,omitempty"`
}

// Level is how to log.
type Level struct {
	Level  string `json:"level"`
	Format string `json:"format"`
}

// errBadLine is returned by readMessages when a line is not what a worker says.
var errBadLine = errors.New("line is not a message of a worker")

// readMessages calls got with each line until the pipe ends; nil when it ended between two lines.
func readMessages(r io.Reader, got func(message)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLineBytes)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("%w: %w", errBadLine, err)
		}
		got(m)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read from worker: %w", err)
	}
	return nil
}
