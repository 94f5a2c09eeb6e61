package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node"
)

// ownHost is an address of loopback of this test's own: on 127.0.0.1 somebody else may have a port, or get it between two
// starts of a node.
func ownHost() string {
	return fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), rand.IntN(250), 1+rand.IntN(250))
}

// at is where the first node of a cluster laid out for hosts serves.
func at(host string) string { return fmt.Sprintf("http://%s:7002", host) }

// running is a `baton run` under way in this process.
type running struct {
	stop   context.CancelFunc
	code   chan int
	stderr bytes.Buffer // read it after wait
}

func start(t *testing.T, configFile string, flags ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, code: make(chan int, 1)}
	go func() {
		r.code <- execute(ctx, append([]string{"run", "--config", configFile}, flags...), &bytes.Buffer{}, &r.stderr)
	}()
	t.Cleanup(cancel)
	return r
}

// wait stops the node and returns its exit status and what it logged.
func (r *running) wait(t *testing.T) (code int, stderr string) {
	t.Helper()
	r.stop()
	select {
	case code := <-r.code:
		return code, r.stderr.String()
	case <-time.After(3 * time.Minute):
		t.Fatal("the node does not stop")
		return 0, ""
	}
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	me := filepath.Join(t.TempDir(), "me.json")
	pub := strings.TrimSpace(good(t, "key", "new", "--out", me))
	host := ownHost()
	dir, conf := cluster(t, "--nodes", "1", "--hosts", host, "--fund", pub+"=100")
	url := at(host)

	node := start(t, conf)
	transfer := []string{"tx", "transfer", "--api", url, "--key", me, "--to", receiver, "--amount", "30"}
	mustHave(t, good(t, transfer...), "block 1") // waits for the node to start
	mustHave(t, good(t, "status", "--config", conf), "* node1", "height 1", "lag 0")
	mustHave(t, good(t, "leader", "show", "--config", conf), "node1 leads")
	mustHave(t, good(t, "block", "show", "latest", "--config", conf), "(verified)", receiver)

	// A running node exports what is signed, whose signature comes to the disk a moment later.
	live, still := filepath.Join(t.TempDir(), "live"), filepath.Join(t.TempDir(), "still")
	for begun := time.Now(); ; {
		err := execute(t.Context(), []string{"block", "export", "--out", live, "--config", conf}, io.Discard, io.Discard)
		if err == 0 || time.Since(begun) > 3*time.Minute {
			break
		}
	}
	mustHave(t, refused(t, "block", "import", "--in", live, "--config", conf), "in use")

	// The same folder cannot be used twice, and says so on one line.
	mustHave(t, refused(t, "run", "--config", conf), filepath.Join(dir, "node1/data"), "in use")
	code, log := node.wait(t)
	if code != 0 || strings.Contains(log, "baton:") {
		t.Errorf("status %d, log:\n%s", code, log)
	}
	mustHave(t, good(t, "block", "verify", "--execute", "--config", conf), "1 signed", "1 transactions")

	// So does a stopped one, and both files are the same chain to another folder.
	mustHave(t, good(t, "block", "export", "--out", still, "--config", conf), "blocks 1 to 1", "1 transactions")
	genesis := filepath.Join(dir, "genesis.json")
	for _, file := range []string{live, still} {
		fresh := filepath.Join(t.TempDir(), "data")
		half := filepath.Join(t.TempDir(), "half")
		whole, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(half, whole[:len(whole)-9], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		mustHave(t, refused(t, "block", "import", "--in", half, "--data-dir", fresh, "--genesis", genesis), half, "empty it")
		mustHave(t, good(t, "block", "import", "--in", file, "--data-dir", fresh, "--genesis", genesis), "blocks 1 to 1")
		mustHave(t, good(t, "block", "verify", "--execute", "--data-dir", fresh, "--genesis", genesis), "1 signed", "1 transactions")
		mustHave(t, refused(t, "block", "import", "--in", file, "--data-dir", fresh, "--genesis", genesis), "not empty")
	}
	foreign, _ := cluster(t)
	mustHave(t, refused(t, "block", "export", "--out", live, "--data-dir", filepath.Join(dir, "node1/data"),
		"--genesis", filepath.Join(foreign, "genesis.json")), "another chain")
	mustHave(t, refused(t, "block", "import", "--in", live, "--data-dir", filepath.Join(t.TempDir(), "data"),
		"--genesis", filepath.Join(foreign, "genesis.json")), "refused", "genesis")
	mustHave(t, refused(t, "block", "export", "--state", "--out", live, "--config", conf), "no state is stored")

	// It goes on where it stopped: 70 are left.
	node = start(t, conf)
	mustHave(t, refused(t, append(transfer[:len(transfer)-1:len(transfer)-1], "71")...), "rejected")
	mustHave(t, good(t, append(transfer[:len(transfer)-1:len(transfer)-1], "70")...), "block 2")
	if code, log := node.wait(t); code != 0 {
		t.Errorf("status %d, log:\n%s", code, log)
	}

	t.Run("folder of another chain", func(t *testing.T) {
		_, other := cluster(t, "--nodes", "1", "--hosts", host)
		t.Setenv("BATON_DATA_DIR", filepath.Join(dir, "node1/data"))
		mustHave(t, refused(t, "run", "--config", other), filepath.Join(dir, "node1/data"), "another chain")
	})
	t.Run("key that is not the chain's", func(t *testing.T) {
		path := filepath.Join(dir, "node1/keys/processor.json")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		good(t, "key", "new", "--out", path)
		mustHave(t, refused(t, "run", "--config", conf), path, "genesis.json")
	})
}

func TestRunRefusesOnOneLine(t *testing.T) {
	dir, conf := cluster(t)
	mustHave(t, refused(t, "run", "--config", filepath.Join(dir, "none.json")), "none.json", "baton init")
	if err := replace(conf, `"performance": 1`, `"performance": "fast"`); err != nil {
		t.Fatal(err)
	}
	mustHave(t, refused(t, "run", "--config", conf), "raftify.performance", "whole number")
}

func TestNodeConfigTakesEverySetting(t *testing.T) {
	dir, _ := cluster(t, "--hosts", "10.0.0.1,10.0.0.2,10.0.0.3")
	t.Setenv("BATON_TIMING_HEARTBEAT", "10ms")
	t.Setenv("BATON_PEER_ADVERTISE", "192.0.2.2:9999")
	t.Setenv("BATON_LIMITS_OPEN_READS", "77")
	t.Setenv("BATON_LIMITS_BLOCK_TXS", "78")
	t.Setenv("BATON_LIMITS_MEMPOOL_TXS", "79")
	t.Setenv("BATON_LIMITS_PEER_QUEUE", "80")
	t.Setenv("BATON_LIMITS_STORE_CACHE_BYTES", "2000001")
	t.Setenv("BATON_LIMITS_STATE_CACHE_BYTES", "2000002")
	t.Setenv("BATON_STATE_KEEP", "81")
	t.Setenv("BATON_STATE_CHECKPOINT_BLOCKS", "82")
	t.Setenv("BATON_STATE_CHECKPOINT_BYTES", "2000003")
	t.Setenv("BATON_RETENTION_BLOCKS", "2000")
	t.Setenv("BATON_RETENTION_RECEIPTS", "3000")
	t.Setenv("BATON_SYNC_MODE", "from:83")
	t.Setenv("BATON_SYNC_PIN_HEIGHT", "84")
	t.Setenv("BATON_SYNC_PIN_HASH", strings.Repeat("85", 32))
	t.Setenv("BATON_SYNC_LISTEN", "10.0.0.2:7003")
	t.Setenv("BATON_SYNC_RATE", "860000")
	t.Setenv("BATON_SYNC_SOURCES", "http://10.0.0.9:87, http://10.0.0.9:88")
	files, err := config.Open(filepath.Join(dir, "node2", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := nodeConfig(files, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"raftify": cfg.Raftify.Validate(), "peer": cfg.Peer.Validate(), "api": cfg.API.Validate(), "limits": cfg.Limits.Validate(),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if cfg.ID != "node2" || cfg.DataDir != filepath.Join(dir, "node2/data") || cfg.StateDir != filepath.Join(dir, "node2") {
		t.Errorf("id %s, data %s, state %s", cfg.ID, cfg.DataDir, cfg.StateDir)
	}
	r := cfg.Raftify
	if r.ID != "node2" || r.BindAddr != "10.0.0.2" || r.BindPort != 7000 || r.Expect != 3 || r.MaxNodes != 3 || len(r.Encrypt) != 32 ||
		r.Peers[2].ID != "node3" || r.Peers[2].Addr != "10.0.0.3:7000" || r.Timings().Heartbeat != 10*time.Millisecond ||
		r.KickAfter != 10*time.Minute {
		t.Errorf("raftify = %+v", r)
	}
	if cfg.Peer.Listen != "10.0.0.2:7001" || cfg.Peer.Peers[0].Addr != "10.0.0.1:7001" ||
		cfg.Peer.Peers[1].Addr != "192.0.2.2:9999" || cfg.Peer.QueueFrames != 80 {
		t.Errorf("peer = %+v", cfg.Peer)
	}
	if cfg.API.Listen != "10.0.0.2:7002" || cfg.API.MaxReads != 77 || cfg.Limits.MaxBlockTxs != 78 || cfg.Limits.Pool.MaxTxs != 79 {
		t.Errorf("api = %+v, limits = %+v", cfg.API, cfg.Limits)
	}
	if l := cfg.Limits; l.CacheBytes != 2000001 || l.StateCacheBytes != 2000002 || l.CheckpointEvery != 82 || l.CheckpointBytes != 2000003 {
		t.Errorf("limits = %+v", cfg.Limits)
	}
	if cfg.Retention != (node.Retention{Checkpoints: 81, Blocks: 2000, Receipts: 3000}) || cfg.Retention.Validate() != nil {
		t.Errorf("retention = %+v", cfg.Retention)
	}
	if s := cfg.Sync; s.Mode != node.SyncFrom || s.From != 83 || s.Pin.Height != 84 || s.Pin.Hash.String() != strings.Repeat("85", 32) ||
		s.Listen != "10.0.0.2:7003" || s.Rate != 860000 || len(s.Sources) != 2 || s.Sources[1] != "http://10.0.0.9:88" || s.Validate() != nil {
		t.Errorf("sync = %+v", s)
	}
	files.Config.State.Archive = true
	if cfg, err = nodeConfig(files, zerolog.Nop()); err != nil || cfg.Retention.Checkpoints != 0 {
		t.Errorf("an archive: %+v, %v", cfg.Retention, err)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	held := &holdingWriter{to: &out}
	log := newLogger(held, config.Log{Level: "info", Format: "json"})
	log.Debug().Msg("not wanted")
	log.Info().Int("height", 3).Msg("first")
	if out.Len() > 0 {
		t.Errorf("written before it was released: %s", out.String())
	}
	if err := held.release(); err != nil {
		t.Fatal(err)
	}
	log.Warn().Msg("second")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("logged %q", lines)
	}
	mustHave(t, lines[0], `"height":3`, `"message":"first"`, `"time":"`)
	mustHave(t, lines[1], `"level":"warn"`)

	out.Reset()
	console := newLogger(&out, config.Log{Level: "debug", Format: "console"})
	console.Info().Str("part", "x").Msg("hello")
	mustHave(t, out.String(), "INF hello part=x")
	if stamp, _, _ := strings.Cut(out.String(), " "); len(stamp) != len("2026-01-02T15:04:05.000Z") {
		t.Errorf("time is %q", stamp)
	}
}
