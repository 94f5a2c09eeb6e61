package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The test binary plays the program: its outside enters a sandbox, its inside starts a process on a host and waits.
const roleOutside = "BATON_SANDBOX_TEST"

func TestMain(m *testing.M) {
	switch {
	case Inside():
		fmt.Println(inside())
		os.Exit(1)
	case os.Getenv(roleOutside) != "":
		code, err := Enter(context.Background())
		if errors.Is(err, ErrUnavailable) {
			fmt.Println("unavailable:", err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func inside() error {
	if err := Prepare(); err != nil {
		return fmt.Errorf("unavailable: %w", err)
	}
	h, err := NewHost(netip.MustParseAddr("10.99.0.1"))
	if err != nil {
		return fmt.Errorf("unavailable: %w", err)
	}
	cmd := exec.Command("sleep", os.Getenv(roleOutside))
	if err := h.Start(cmd); err != nil {
		return err
	}
	fmt.Println("ready")
	return cmd.Wait()
}

// When the program is killed, nothing of its sandbox is left: not its processes, and nothing has a name outside.
func TestNothingIsLeftAfterSIGKILL(t *testing.T) {
	mark := strconv.Itoa(100_000_000 + os.Getpid()) // seconds that nobody else sleeps
	outside := exec.CommandContext(t.Context(), os.Args[0])
	outside.Env = append(os.Environ(), roleOutside+"="+mark)
	out, err := outside.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := outside.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	text := string(buf[:n])
	if strings.HasPrefix(text, "unavailable") && os.Getenv("CI") == "" {
		_ = outside.Wait()
		t.Skip(text)
	}
	if err != nil || !strings.HasPrefix(text, "ready") {
		t.Fatalf("%q, %v", text, err)
	}
	if !runs(t, mark) {
		t.Fatal("the process of the host is not there")
	}
	if err := outside.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = outside.Wait()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for runs(t, mark) {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the process of the host outlived the program")
		}
	}
}

// runs reports whether a process has the mark among its arguments.
func runs(t *testing.T, mark string) bool {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && bytes.Contains(line, []byte("sleep\x00"+mark)) {
			return true
		}
	}
	return false
}
