package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

// exportWrite is how long a reader of an export may take for a piece of it: it may be sending the one before to somewhere far.
const exportWrite = 10 * time.Minute

// getExport answers GET /export?from=H&to=H&state=1 with an archive. An answer that is cut off is not a whole one, which
// its reader notices.
func (a *Admin) getExport(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	var from, to block.Height
	if text := query.Get("from"); text != "" {
		if from, err = parseHeight("from", text); err != nil {
			return err
		}
	}
	if text := query.Get("to"); text != "" {
		if to, err = parseHeight("to", text); err != nil {
			return err
		}
	}
	buf := bufio.NewWriterSize(&patientWriter{a.router, w}, 1<<20)
	w.Header().Set("Content-Type", "application/octet-stream")
	err = a.backend.Export(r.Context(), buf, from, to, query.Get("state") == "1")
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		a.log.Warn().Err(err).Msg("export ended early")
	}
	return err
}

// patientWriter gives the reader time for each write anew.
type patientWriter struct {
	rt *router
	w  http.ResponseWriter
}

func (p *patientWriter) Write(b []byte) (int, error) {
	p.rt.allowWrite(p.w, exportWrite)
	return p.w.Write(b)
}

// AdminExport asks the node whose data folder is dataDir for an archive of its blocks, with state if asked for; 0 is the
// first, or the newest, height. What is read must be checked for being whole. The error is [ErrNoAdmin], or what the node
// says. Close what is returned.
func AdminExport(ctx context.Context, dataDir string, from, to uint64, state bool) (io.ReadCloser, error) {
	query := url.Values{}
	if from > 0 {
		query.Set("from", strconv.FormatUint(from, 10))
	}
	if to > 0 {
		query.Set("to", strconv.FormatUint(to, 10))
	}
	if state {
		query.Set("state", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/export?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := AdminClient(dataDir).Do(req)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(resp.Body, adminBodyBytes))
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	var answer wire.ErrorBody
	if json.Unmarshal(data, &answer) != nil || answer.Error.Message == "" {
		return nil, fmt.Errorf("export: the node answers %s", resp.Status)
	}
	return nil, fmt.Errorf("export: the node refuses: %w", &Error{Status: resp.StatusCode, Code: answer.Error.Code, Message: answer.Error.Message})
}
