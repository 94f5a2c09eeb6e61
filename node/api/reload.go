package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/baton-ha/baton/node/api/wire"
)

// postReload answers POST /reload with what changed. An empty body asks for no more than the node can read itself.
func (a *Admin) postReload(w http.ResponseWriter, r *http.Request) error {
	body, err := a.readBody(w, r)
	if err != nil {
		return err
	}
	var req wire.ReloadRequest
	if len(body) > 0 {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			return Malformed("the request is not that of a reload")
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return Malformed("something follows the request's JSON object")
		}
	}
	done, err := a.backend.Reload(r.Context(), req)
	if err != nil {
		return err
	}
	a.router.allowWrite(w, adminTimeout)
	a.router.writeJSON(w, http.StatusOK, done)
	return nil
}

// NotReloadable is the answer to a reload of a configuration that cannot be taken over: 422. Nothing has changed.
func NotReloadable(reason string) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: wire.CodeRejected, Message: reason}
}
