package api

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/api/wire"
)

const (
	// MaxRange is how many blocks one answer holds at most.
	MaxRange = 1000
	// defaultRange is how many it holds when the client does not say.
	defaultRange = 100
	// rangeBytes ends a range early: the block that crosses it is the last one.
	rangeBytes = 32 << 20
)

// getBlock answers GET /v1/blocks/{height|latest}.
func (s *Server) getBlock(w http.ResponseWriter, r *http.Request) error {
	text := r.PathValue("height")
	var h block.Height
	if text == "latest" {
		h = s.backend.Latest(r.Context())
	} else {
		var err error
		if h, err = parseHeight("height", text); err != nil {
			return err
		}
	}
	b, err := s.block(r.Context(), h)
	if errors.Is(err, ErrNotFound) {
		if h < s.backend.Latest(r.Context()) {
			return NotFound(fmt.Sprintf("this node does not keep block %d any more", h))
		}
		return NotFound(fmt.Sprintf("no final block has height %d yet", h))
	}
	if err != nil {
		return err
	}
	s.router.writeJSON(w, http.StatusOK, b)
	return nil
}

// block reads one final block.
func (s *Server) block(ctx context.Context, h block.Height) (*wire.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	f, err := s.backend.Final(ctx, h)
	if err != nil {
		return nil, err
	}
	return wire.NewBlock(f, s.backend.Signer(h)), nil
}

// getBlocks answers GET /v1/blocks?from=H&limit=N. The blocks are written as they are read, so that a range never
// stands in memory as a whole; it ends early, but not empty, where it becomes too large.
func (s *Server) getBlocks(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	var from block.Height
	if text := query.Get("from"); text != "" {
		if from, err = parseHeight("from", text); err != nil {
			return err
		}
	}
	limit := uint64(defaultRange)
	if text := query.Get("limit"); text != "" {
		limit, err = strconv.ParseUint(text, 10, 64)
		if err != nil || limit == 0 {
			return Malformed("limit: " + quote(text) + " is not a number above 0")
		}
	}
	limit = min(limit, MaxRange)

	latest := s.backend.Latest(r.Context())
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	buf.WriteString(`{"blocks":[`)
	written := 0
	for i := uint64(0); i < limit && from <= latest && written < rangeBytes; i++ {
		b, err := s.block(r.Context(), from)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if i > 0 {
			buf.WriteByte(',')
		}
		if err := enc.Encode(b); err != nil {
			return fmt.Errorf("block %d: %w", from, err)
		}
		if written == 0 {
			// The whole range has one deadline: a reader that takes a little at a time cannot stay for ever.
			s.router.allowWrite(w, 4*s.cfg.WriteTimeout)
			w.Header().Set("Content-Type", "application/json")
		}
		n, err := buf.WriteTo(w)
		if err != nil {
			return fmt.Errorf("write block %d: %w", from, err)
		}
		written += int(n)
		from++
	}
	if written == 0 {
		s.router.allowWrite(w, s.cfg.WriteTimeout)
		w.Header().Set("Content-Type", "application/json")
	}
	buf.WriteString("]}\n")
	if _, err := io.Copy(w, &buf); err != nil {
		return fmt.Errorf("write end of range: %w", err)
	}
	return nil
}

// getAccount answers GET /v1/accounts/{pubkey}.
func (s *Server) getAccount(w http.ResponseWriter, r *http.Request) error {
	var pub [32]byte
	text := r.PathValue("pubkey")
	if len(text) != hex.EncodedLen(len(pub)) {
		return Malformed("public key: must be 64 hex digits")
	}
	if _, err := hex.Decode(pub[:], []byte(text)); err != nil {
		return Malformed("public key: must be 64 hex digits")
	}
	local, proof, err := readOptions(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.QueryTimeout)
	defer cancel()
	read := s.backend.Account
	if proof {
		read = s.backend.ProvenAccount
	}
	account, err := read(ctx, pub, local)
	if errors.Is(err, context.DeadlineExceeded) {
		return NoLeader(0)
	}
	if err != nil {
		return err
	}
	account.PublicKey = hex.EncodeToString(pub[:])
	if account.Balances == nil {
		account.Balances = map[string]string{}
	}
	s.router.writeJSON(w, http.StatusOK, account)
	return nil
}

// readOptions reads what both reads of the state may be asked for: ?consistency=linearizable|local and ?proof=0|1.
func readOptions(r *http.Request) (local, proof bool, err error) {
	query, err := parseQuery(r)
	if err != nil {
		return false, false, err
	}
	switch query.Get("consistency") {
	case "", "linearizable":
	case "local":
		local = true
	default:
		return false, false, Malformed("consistency: " + quote(query.Get("consistency")) + " is neither linearizable nor local")
	}
	proof, err = parseSwitch(query, "proof")
	return local, proof, err
}

// parseSwitch reads a query's value that is 0, as without one, or 1.
func parseSwitch(query url.Values, name string) (bool, error) {
	switch query.Get(name) {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, Malformed(name + ": " + quote(query.Get(name)) + " is neither 0 nor 1")
}

// getState answers GET /v1/state/{key}, present or not.
func (s *Server) getState(w http.ResponseWriter, r *http.Request) error {
	text := r.PathValue("key")
	key, err := hex.DecodeString(text)
	if err != nil || len(key) == 0 || len(key) > merkle.MaxKeyBytes {
		return Malformed(fmt.Sprintf("key: must be the state key's bytes in hex, 1 to %d bytes; an account's is 612f (\"a/\") and its public key",
			merkle.MaxKeyBytes))
	}
	local, proof, err := readOptions(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.QueryTimeout)
	defer cancel()
	entry, err := s.backend.StateEntry(ctx, key, local, proof)
	if errors.Is(err, context.DeadlineExceeded) {
		return NoLeader(0)
	}
	if err != nil {
		return err
	}
	s.router.writeJSON(w, http.StatusOK, entry)
	return nil
}

// getStatus answers GET /v1/status.
func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) error {
	status := s.backend.Status()
	if status.Members == nil {
		status.Members = []Member{}
	}
	s.router.writeJSON(w, http.StatusOK, status)
	return nil
}

// getHealth answers GET /healthz: the process serves.
func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	s.router.writeJSON(w, http.StatusOK, wire.Health{Status: "ok"})
	return nil
}

// getReady answers GET /readyz.
func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	if err := s.backend.Ready(); err != nil {
		return &Error{Status: http.StatusServiceUnavailable, Code: wire.CodeNotReady, Message: err.Error()}
	}
	s.router.writeJSON(w, http.StatusOK, wire.Health{Status: "ready"})
	return nil
}

// getLeader answers GET /leader: 200 on the one node that leads under a valid lease.
func (s *Server) getLeader(w http.ResponseWriter, _ *http.Request) error {
	status := s.backend.Status()
	if !s.backend.Leading() { // asked last: what is answered must hold now
		message := "this node does not lead, and knows of no leader"
		if status.Leader != "" && status.Leader != status.ID {
			message = "this node does not lead, " + status.Leader + " does"
		}
		return &Error{Status: http.StatusServiceUnavailable, Code: wire.CodeNotLeader, Message: message}
	}
	s.router.writeJSON(w, http.StatusOK, leaderOf(status))
	return nil
}

func leaderOf(status Status) wire.Leader {
	return wire.Leader{Leader: status.Leader, Term: status.Term, LeaseMs: status.LeaseMs}
}
