//go:build !faults

package core_test

import (
	"reflect"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

// TestReleaseHasNoSwitches: a binary that is shipped cannot have a rule switched off.
func TestReleaseHasNoSwitches(t *testing.T) {
	if core.FaultsBuilt {
		t.Error("built with switches")
	}
	typ := reflect.TypeFor[*core.Core]()
	if typ.NumMethod() < 10 {
		t.Fatalf("found %d methods only", typ.NumMethod())
	}
	for m := range typ.Methods() {
		if m.Name == "Break" {
			t.Error("Core has the method Break")
		}
	}
}
