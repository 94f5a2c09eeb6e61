package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/api/wire"
)

const (
	// AdminSocket is the name of the admin socket inside a node's data folder.
	AdminSocket = "admin.sock"

	adminMode         = 0o600
	adminConns        = 32
	adminTimeout      = 10 * time.Second
	adminTransferTime = 30 * time.Second
	adminBodyBytes    = 4 << 10
)

var (
	// ErrNoAdmin is returned when nobody serves the admin socket of a data folder: the node does not run, or it runs
	// with another data folder.
	ErrNoAdmin = errors.New("no node serves the admin socket")
	// ErrAdminInUse is returned when another process serves the admin socket of a data folder.
	ErrAdminInUse = errors.New("another process serves the admin socket")
)

// Admin serves a node's admin socket. Make it with [NewAdmin], then [Admin.Start], then once [Admin.Shutdown].
type Admin struct {
	dataDir string
	backend AdminBackend
	log     zerolog.Logger
	router  *router
	http    *http.Server
	dir     *os.File // keeps the socket's path alive
	failed  chan error
	serving sync.WaitGroup
}

// NewAdmin makes the admin server of the node whose data folder is dataDir. It does not listen yet.
func NewAdmin(dataDir string, backend AdminBackend, log zerolog.Logger) *Admin {
	a := &Admin{dataDir: dataDir, backend: backend, log: log, failed: make(chan error, 1)}
	one := make(slots, 1)
	a.router = newRouter(log, nil, adminTimeout, []route{
		{http.MethodGet, "/leader", nil, a.getLeader},
		{http.MethodPost, "/leader/transfer", one, a.postTransfer},
		{http.MethodGet, "/members", nil, a.getMembers},
		{http.MethodPost, "/members", one, a.postMembers},
		{http.MethodGet, "/status", nil, a.getStatus},
		{http.MethodPost, "/reload", one, a.postReload},
		{http.MethodGet, "/debug/pprof/{name}", make(slots, 1), a.getProfile},
		{http.MethodGet, "/export", make(slots, 1), a.getExport},
	})
	a.http = &http.Server{
		Handler:           a.router,
		ReadHeaderTimeout: adminTimeout,
		ReadTimeout:       adminTimeout,
		WriteTimeout:      adminTimeout,
		IdleTimeout:       adminTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(debugWriter{log}, "", 0),
	}
	return a
}

// Start listens on the socket and begins to serve; ctx bounds only that. A socket that nobody answers is removed; one
// that somebody does is [ErrAdminInUse].
func (a *Admin) Start(ctx context.Context) error {
	dir, err := openDir(a.dataDir)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	l, err := listenAdmin(ctx, dir)
	if err != nil {
		return errors.Join(fmt.Errorf("admin socket in %s: %w", a.dataDir, err), dir.Close())
	}
	a.dir = dir
	a.serving.Go(func() {
		if err := a.http.Serve(newLimitListener(l, adminConns)); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve admin socket in %s: %w", a.dataDir, err)
		}
	})
	return nil
}

// Failed receives one error if serving ends without [Admin.Shutdown].
func (a *Admin) Failed() <-chan error { return a.failed }

// Shutdown stops serving, removes the socket and lets calls finish until ctx ends. It may be called more than once, and
// without [Admin.Start].
func (a *Admin) Shutdown(ctx context.Context) error {
	err := a.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("admin socket: shut down: %w", err), a.http.Close())
	}
	a.serving.Wait()
	if a.dir != nil {
		err = errors.Join(err, a.dir.Close())
		a.dir = nil
	}
	return err
}

// listenAdmin binds the socket in dir, with its mode from the first instant.
func listenAdmin(ctx context.Context, dir *os.File) (net.Listener, error) {
	path := socketPath(dir)
	lc := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		// On Linux a socket's file takes the mode of the socket itself, so that there is no moment at which others could
		// connect. Changing the file afterwards would leave one.
		var chmodErr error
		if err := conn.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), adminMode) }); err != nil {
			return err
		}
		return chmodErr
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(ctx, dir); err != nil {
			return nil, err
		}
		l, err = lc.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	// Trust is good: a kernel that does otherwise must not open the door.
	info, err := os.Lstat(path)
	if err == nil && info.Mode() != fs.ModeSocket|adminMode {
		err = fmt.Errorf("mode is %s, must be %s", info.Mode(), fs.ModeSocket|adminMode)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket that a dead process left behind, and nothing else.
func removeStale(ctx context.Context, dir *os.File) error {
	path := socketPath(dir)
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket, remove it", AdminSocket)
	}
	conn, err := dialAdmin(ctx, dir)
	switch {
	case err == nil:
		return errors.Join(ErrAdminInUse, conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	default:
		return err
	}
}

// DialAdmin connects to the admin socket of the node whose data folder is dataDir, however long the folder's path is.
// Where nobody serves it the error is [ErrNoAdmin]; where the socket may not be used it is fs.ErrPermission.
func DialAdmin(ctx context.Context, dataDir string) (net.Conn, error) {
	dir, err := openDir(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNoAdmin, err)
	}
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	conn, err := dialAdmin(ctx, dir)
	err = errors.Join(err, dir.Close())
	switch {
	case err == nil:
		return conn, nil
	case conn != nil:
		return nil, errors.Join(err, conn.Close())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w in %s: does the node run?", ErrNoAdmin, dataDir)
	default:
		return nil, fmt.Errorf("admin socket in %s: %w", dataDir, err)
	}
}

// AdminClient returns an HTTP client all of whose requests go to the admin socket in dataDir, whatever host their URL
// names: http://admin/status. Errors answered by the socket have the body of [wire.ErrorBody].
func AdminClient(dataDir string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return DialAdmin(ctx, dataDir)
		},
		DisableKeepAlives: true,
	}}
}

func dialAdmin(ctx context.Context, dir *os.File) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", socketPath(dir))
}

// openDir opens a folder as a base for paths. The kernel's own name for it is short, whatever its path.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), AdminSocket)
}

// getLeader answers GET /leader.
func (a *Admin) getLeader(w http.ResponseWriter, _ *http.Request) error {
	a.router.writeJSON(w, http.StatusOK, leaderOf(a.backend.Status()))
	return nil
}

// getMembers answers GET /members.
func (a *Admin) getMembers(w http.ResponseWriter, _ *http.Request) error {
	a.router.writeJSON(w, http.StatusOK, wire.MembersOf(a.backend.Status()))
	return nil
}

// getStatus answers GET /status.
func (a *Admin) getStatus(w http.ResponseWriter, _ *http.Request) error {
	status := a.backend.Status()
	if status.Members == nil {
		status.Members = []Member{}
	}
	a.router.writeJSON(w, http.StatusOK, status)
	return nil
}

// readBody reads a request whose answer may take long.
func (a *Admin) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, adminBodyBytes+1))
	if err != nil {
		return nil, Malformed("the request's body is not whole")
	}
	if len(body) > adminBodyBytes {
		return nil, TooLarge(adminBodyBytes)
	}
	a.router.readDeadline(w, time.Time{})
	return body, nil
}

// decodeMember reads the body of POST /members, strictly.
func decodeMember(body []byte) (wire.MemberRequest, error) {
	var req wire.MemberRequest
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, Malformed("the request is not that of a change of members: " + err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return req, Malformed("something follows the request's JSON object")
	}
	switch req.Op {
	case wire.MemberAdd, wire.MemberRemove, wire.MemberPromote, wire.MemberLeave:
	default:
		return req, Malformed(fmt.Sprintf("op is %.32q: must be add, remove, promote or leave", req.Op))
	}
	return req, nil
}

// postMembers answers POST /members with the members after the change, as this node knows them.
func (a *Admin) postMembers(w http.ResponseWriter, r *http.Request) error {
	body, err := a.readBody(w, r)
	if err != nil {
		return err
	}
	req, err := decodeMember(body)
	if err != nil {
		return err
	}
	if req.ID == "" {
		req.ID = a.backend.Status().ID
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTransferTime)
	defer cancel()
	if err := a.backend.MemberChange(ctx, req); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
			return unavailable("not done within " + adminTransferTime.String() + "; it may still come about")
		}
		return err
	}
	a.log.Info().Str("op", req.Op).Str("member", req.ID).Msg("membership changed on request")
	return a.getMembers(w, r)
}

// postTransfer answers POST /leader/transfer with the leader after the transfer. An empty body is as good as an empty
// "to".
func (a *Admin) postTransfer(w http.ResponseWriter, r *http.Request) error {
	body, err := a.readBody(w, r)
	if err != nil {
		return err
	}
	to := ""
	if len(body) > 0 {
		fields, err := decodeTexts(body, "to")
		if err != nil {
			return err
		}
		if fields["to"] != nil {
			to = *fields["to"]
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTransferTime)
	defer cancel()
	if err := a.backend.LeaderTransfer(ctx, to); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
			return unavailable("no other node has taken the lead within " + adminTransferTime.String())
		}
		return err
	}
	a.log.Info().Str("to", to).Msg("leadership transferred on request")
	a.router.writeJSON(w, http.StatusOK, leaderOf(a.backend.Status()))
	return nil
}
