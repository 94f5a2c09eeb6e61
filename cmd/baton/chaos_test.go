package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Without the program beside it or in PATH, `baton chaos` says what to do.
func TestChaosNamesWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	mustHave(t, refused(t, "chaos"), "baton-chaos", "make chaos-build")
}

// It hands its arguments on, with its own file, and takes the status over.
func TestChaosRunsTheProgram(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\"\nexit \"${STATUS:-0}\"\n"
	if err := os.WriteFile(filepath.Join(dir, chaosProgram), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mustHave(t, good(t, "chaos", "--short", "--seed", "7"), "--baton "+self+" --short --seed 7")
	t.Setenv("STATUS", "3")
	mustHave(t, refused(t, "chaos", "--list"), "status 3")
}
