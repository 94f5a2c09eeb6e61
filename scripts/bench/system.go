package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
	"github.com/baton-ha/baton/scripts/bench/internal/rival"
)

const (
	nodes        = 3
	chainID      = "bench"
	startBalance = 1_000_000_000
	// startPatience bounds the wait for a leader.
	startPatience = 30 * time.Second
)

// system is one cluster of three processes.
type system struct {
	name  string
	logs  []string
	addrs []string
	procs []*process
	// commands are how the processes were started.
	commands [][]string
}

// process is a child whose death is noticed.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// launcher starts children from one thread that never ends: on Linux a child's life is bound to it.
type launcher struct{ work chan func() }

func newLauncher() *launcher {
	l := &launcher{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range l.work {
			f()
		}
	}()
	return l
}

// start starts a child in a process group of its own, or in a session of its own.
func (l *launcher) start(cmd *exec.Cmd, session bool) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: !session, Setsid: session}
	started := make(chan error, 1)
	l.work <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func funds() map[string]string {
	fund := map[string]string{}
	for i := range load.Accounts {
		fund[publicHex(i)] = fmt.Sprint(startBalance)
	}
	return fund
}

func publicHex(i int) string { return hex.EncodeToString(config.PublicKey(load.Key(i))) }

// startBaton lays out and starts a cluster of `baton run`. The binary may be a whole command, such as "nice -n 5 baton".
func (l *launcher) startBaton(name, binary, dir string, basePort int) (*system, error) {
	files, err := layOut(name, dir, basePort)
	if err != nil {
		return nil, err
	}
	return l.startLaidOut(name, binary, files)
}

func layOut(name, dir string, basePort int) (*config.InitResult, error) {
	files, err := config.Init(config.InitOptions{
		Out: dir, Nodes: nodes, BasePort: basePort, ChainID: chainID, Fund: funds(),
	})
	if err != nil {
		return nil, fmt.Errorf("lay out %s: %w", name, err)
	}
	return files, nil
}

func (l *launcher) startLaidOut(name, binary string, files *config.InitResult) (*system, error) {
	s := &system{name: name}
	for i, file := range files.Configs {
		s.addrs = append(s.addrs, strings.TrimPrefix(files.APIURLs[i], "http://"))
		if err := s.start(l, filepath.Join(filepath.Dir(file), "log"), append(strings.Fields(binary), "run", "--config", file)...); err != nil {
			return s, err
		}
	}
	return s, nil
}

// startRival lays out and starts the peer on the genesis file of a baton cluster.
func (l *launcher) startRival(name, dir, genesis string, basePort int) (*system, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &system{name: name}
	var members []rival.Member
	for i := range nodes {
		addr := func(k int) string { return fmt.Sprintf("127.0.0.1:%d", basePort+10*i+k) }
		members = append(members, rival.Member{ID: fmt.Sprintf("node%d", i+1), Raft: addr(0), Forward: addr(1), API: addr(2)})
		s.addrs = append(s.addrs, addr(2))
	}
	for _, m := range members {
		folder := filepath.Join(dir, m.ID)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return s, err
		}
		text, err := json.Marshal(rival.Config{ID: m.ID, DataDir: filepath.Join(folder, "data"), Genesis: genesis, Members: members})
		if err != nil {
			return s, err
		}
		file := filepath.Join(folder, "config.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return s, err
		}
		if err := s.start(l, filepath.Join(folder, "log"), self, "rival", file); err != nil {
			return s, err
		}
	}
	return s, nil
}

// start starts the next process of the system.
func (s *system) start(l *launcher, log string, command ...string) error {
	p, err := l.startLogged(log, command)
	if err != nil {
		return err
	}
	s.procs, s.logs, s.commands = append(s.procs, p), append(s.logs, log), append(s.commands, command)
	return nil
}

// restart starts a process that has ended again.
func (s *system) restart(l *launcher, i int) (err error) {
	s.procs[i], err = l.startLogged(s.logs[i], s.commands[i])
	return err
}

func (l *launcher) startLogged(log string, command []string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own copy
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	return l.start(cmd, false)
}

// pids are the processes of the nodes themselves, whoever started them.
func (s *system) pids(ctx context.Context) ([]int, error) {
	var out []int
	for _, addr := range s.addrs {
		var st wire.Status
		if err := get(ctx, addr, "/v1/status", &st); err != nil {
			return nil, err
		}
		out = append(out, st.PID)
	}
	return out, nil
}

// died returns an error that names a node whose process has ended.
func (s *system) died() error {
	for i, p := range s.procs {
		select {
		case <-p.ended:
			text, _ := os.ReadFile(s.logs[i])
			return fmt.Errorf("%s node%d ended: %v; its log ends with: %s", s.name, i+1, p.err, text[max(0, len(text)-1500):])
		default:
		}
	}
	return nil
}

func (s *system) stop() {
	var wg sync.WaitGroup
	for _, p := range s.procs {
		wg.Go(p.stop)
	}
	wg.Wait()
}

func get(ctx context.Context, addr, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close() //nolint:errcheck // only read from
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s%s: %s", addr, path, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(into)
}

// leader waits until all nodes agree on a leader and returns its index.
func (s *system) leader(ctx context.Context) (int, error) {
	deadline := time.Now().Add(startPatience)
	for {
		if err := s.died(); err != nil {
			return 0, err
		}
		at, agree := -1, 0
		var names []string
		var problem error
		for i, addr := range s.addrs {
			var st wire.Status
			if err := get(ctx, addr, "/v1/status", &st); err != nil {
				problem = err
				continue
			}
			if st.State == wire.StateLeader {
				at = i
			}
			names = append(names, st.Leader)
		}
		for _, name := range names {
			if name != "" && name == names[0] {
				agree++
			}
		}
		if at >= 0 && agree == len(s.addrs) {
			return at, nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s has no leader after %v: leaders %q, %w", s.name, startPatience, names, problem)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// height is that of the chain, or the index of the log; term is the election's.
func (s *system) height(ctx context.Context) (height, term uint64, err error) {
	for _, addr := range s.addrs {
		var st wire.Status
		if err := get(ctx, addr, "/v1/status", &st); err != nil {
			return 0, 0, err
		}
		height, term = max(height, uint64(st.Height)), max(term, st.Term)
	}
	return height, term, nil
}

// check compares every account on every node with what was acknowledged.
func (s *system) check(ctx context.Context, nonces []uint64) error {
	var errs []error
	deadline := time.Now().Add(10 * time.Second)
	for _, addr := range s.addrs {
		for i, want := range nonces {
			for {
				var acc wire.Account
				err := get(ctx, addr, "/v1/accounts/"+publicHex(i)+"?consistency=local", &acc)
				if err == nil && acc.Nonce == want {
					break
				}
				if time.Now().After(deadline) || ctx.Err() != nil {
					errs = append(errs, fmt.Errorf("%s, %s: account %d has nonce %d, %d transactions were acknowledged (%v)",
						s.name, addr, i, acc.Nonce, want, err))
					break
				}
				time.Sleep(20 * time.Millisecond) // a follower may be a block behind
			}
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more", len(errs)-5))
	}
	return errors.Join(errs...)
}

// dataFolder sets dir to a temporary folder if none is named. What it returns is to be called with the error at the end,
// which it passes on: the folder goes if all went well and it is not to be kept.
func dataFolder(dir *string, name string, keep bool) (done func(error) error, err error) {
	if *dir != "" {
		return func(err error) error { return err }, nil
	}
	if *dir, err = os.MkdirTemp("", name); err != nil {
		return nil, err
	}
	return func(err error) error {
		if keep || err != nil {
			return err
		}
		return os.RemoveAll(*dir)
	}, nil
}
