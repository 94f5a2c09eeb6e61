// Package deb holds what makes the Debian package, and its tests. `make deb` builds it: build.sh compiles baton, has it
// write its own manual pages, shell completions and an example of its configuration (`baton docs`), and packs them with
// the units of scripts/systemd by nfpm, a tool of this module. The same sources and SOURCE_DATE_EPOCH give the same bytes.
//
// The package owns nothing under /etc/baton or /var/lib/baton but empty folders: configurations come from `baton init`,
// and neither an upgrade nor a removal, nor a purge, touches them or the data. An upgrade does not restart a node either:
// when each node of a cluster is restarted is the operator's to say.
//
// The tests install, upgrade, remove and purge it for real: in a mount namespace whose root is this machine's own, or the
// debootstrap tree that BATON_DEB_ROOT names, under an overlay in memory. Nothing of that reaches the machine.
package deb
