package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

const (
	// drainTime and drainBytes bound what is read of a body that is refused for its size, so that a client which sends
	// first and reads then sees why.
	drainTime  = 2 * time.Second
	drainBytes = 16 << 20
)

// postTransaction answers POST /v1/transactions.
func (s *Server) postTransaction(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	async := false
	switch query.Get("wait") {
	case "", "final":
	case "accepted":
		async = true
	default:
		return Malformed("wait: " + quote(query.Get("wait")) + " is neither final nor accepted")
	}
	tx, release, err := s.readTx(w, r)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.SubmitTimeout)
	defer cancel()
	if async {
		hash, err := s.backend.SubmitAsync(ctx, tx)
		if err != nil {
			return s.submitError(r, tx, err)
		}
		s.router.writeJSON(w, http.StatusAccepted, wire.Accepted{Hash: hash})
		return nil
	}
	receipt, err := s.backend.Submit(ctx, tx)
	if err != nil {
		return s.submitError(r, tx, err)
	}
	s.router.writeJSON(w, http.StatusOK, receipt)
	return nil
}

// submitError gives the client what the backend said. Of anything that it did not classify, an ended deadline first of
// all, nobody knows what became of the transaction.
func (s *Server) submitError(r *http.Request, tx *block.Tx, err error) error {
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer
	}
	if r.Context().Err() != nil {
		return err // the client left
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		s.log.Error().Err(err).Stringer("tx", tx.Hash()).Msg("outcome of a transaction unknown")
	}
	return UnknownOutcome()
}

// readTx reads the request within the bounds of size, memory and time. The caller calls release when it no longer needs
// the transaction.
func (s *Server) readTx(w http.ResponseWriter, r *http.Request) (tx *block.Tx, release func(), err error) {
	limit := s.cfg.MaxBodyBytes
	reserved := r.ContentLength
	switch {
	case reserved > limit:
		s.drain(w, r)
		return nil, nil, TooLarge(limit)
	case reserved < 0: // not told
		reserved = limit
	}
	if !s.held.take(reserved) {
		return nil, nil, Overloaded(0)
	}
	defer func() {
		if err != nil {
			s.held.give(reserved)
		}
	}()
	// The deadline for the body is the server's ReadTimeout, running since the header.
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, nil, &Error{
			Status: http.StatusRequestTimeout, Code: wire.CodeSlowRequest,
			Message: "the request did not arrive within " + s.cfg.BodyTimeout.String(),
		}
	case err != nil:
		w.Header().Set("Connection", "close")
		return nil, nil, Malformed("the request's body is not whole")
	case int64(len(body)) > limit:
		s.drain(w, r)
		return nil, nil, TooLarge(limit)
	}
	// Consensus may take longer than the request's deadline, whose end would be the end of the request's context.
	s.router.readDeadline(w, time.Time{})
	tx, err = decodeTx(body)
	if err != nil {
		return nil, nil, err
	}
	if kept := int64(len(tx.Payload)); kept < reserved {
		s.held.give(reserved - kept)
		reserved = kept
	}
	return tx, func() { s.held.give(reserved) }, nil
}

// drain reads away the rest of a body that is too large. A client that asked first whether to send it is told no.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.Header.Get("Expect") != "" {
		return
	}
	s.router.readDeadline(w, time.Now().Add(drainTime))
	if _, err := io.CopyN(io.Discard, r.Body, drainBytes); err != nil && !errors.Is(err, io.EOF) {
		s.log.Debug().Err(err).Msg("rest of a body that is too large")
	}
}

// getTransaction answers GET /v1/transactions/{hash}.
func (s *Server) getTransaction(w http.ResponseWriter, r *http.Request) error {
	hash, err := block.ParseHash(r.PathValue("hash"))
	if err != nil {
		return Malformed("hash: must be 64 hex digits")
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.QueryTimeout)
	defer cancel()
	receipt, found, err := s.backend.Receipt(ctx, hash)
	if err != nil {
		return err
	}
	if !found {
		return NotFound("no final transaction " + hash.String() + " is known here")
	}
	s.router.writeJSON(w, http.StatusOK, receipt)
	return nil
}

// parseQuery reads the query, of which net/url would drop what it cannot read.
func parseQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Malformed("the query cannot be read: " + quote(r.URL.RawQuery))
	}
	return query, nil
}
