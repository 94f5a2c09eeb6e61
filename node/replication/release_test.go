//go:build !faults

package replication

import (
	"reflect"
	"testing"
)

// Builds without the tag faults, which is what users run, have no switch to throw.
func TestReleaseBuildsHaveNoSwitches(t *testing.T) {
	if _, ok := reflect.TypeFor[*Chain]().MethodByName("Break"); ok {
		t.Error("Chain has the method Break")
	}
	if n := reflect.TypeFor[faults]().Size(); n != 0 {
		t.Errorf("a chain holds %d bytes of switches", n)
	}
}
