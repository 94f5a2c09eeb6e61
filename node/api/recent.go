package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

const (
	// maxRecent is how many blocks, and how many transactions, GET /v1/recent tells of at most.
	maxRecent = 50
	// recentPayload is how many bytes of a payload it shows.
	recentPayload = 512
)

// getRecent answers GET /v1/recent?blocks=N&transactions=M: the newest of the chain in short, whatever its size.
func (s *Server) getRecent(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	blocks, err := parseCount(query, "blocks", 10)
	if err != nil {
		return err
	}
	txs, err := parseCount(query, "transactions", 20)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.QueryTimeout)
	defer cancel()
	answer := wire.Recent{Height: s.backend.Latest(ctx), Blocks: []*wire.BlockEvent{}, Transactions: []wire.RecentTx{}}
	for h := answer.Height; h > 0 && (len(answer.Blocks) < blocks || len(answer.Transactions) < txs); h-- {
		if answer.Height-h >= maxRecent {
			break // an application may make blocks without transactions
		}
		f, err := s.backend.Final(ctx, h)
		if errors.Is(err, ErrNotFound) {
			break // not kept any more
		}
		if err != nil {
			return err
		}
		if len(answer.Blocks) < blocks {
			answer.Blocks = append(answer.Blocks, wire.NewBlockEvent(f.Block))
		}
		for i := len(f.Block.Txs) - 1; i >= 0 && len(answer.Transactions) < txs; i-- {
			answer.Transactions = append(answer.Transactions, recentTx(f.Block, i))
		}
	}
	s.router.writeJSON(w, http.StatusOK, answer)
	return nil
}

func recentTx(b *block.Block, i int) wire.RecentTx {
	tx := b.Txs[i]
	text := tx.Payload
	if len(text) > recentPayload {
		text = text[:recentPayload]
	}
	return wire.RecentTx{
		Hash: tx.Hash(), Height: b.Header.Height, Index: uint32(i), Time: b.Header.TimeMs,
		Payload: strings.ToValidUTF8(string(text), ""), PayloadBytes: len(tx.Payload),
	}
}

// parseCount reads a query's number of 0 to maxRecent; a larger one is shortened.
func parseCount(query url.Values, name string, unset int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return unset, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, Malformed(name + ": " + quote(text) + " is not a number")
	}
	return int(min(n, maxRecent)), nil
}
