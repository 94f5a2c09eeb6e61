// Package systemd holds the units of a node on a bare-metal host, and their tests.
//
// baton.service is the one node of a host, baton@.service one of several. Both run `baton run` with Type=notify: the
// supervisor is the main process and says READY=1 when the node serves, WATCHDOG=1 only while its owner loop turns, and
// STOPPING=1 when it hands the leadership over. Keys are root's files and reach the service as credentials. Both files
// differ in nothing but the name of the instance.
//
// The tests need no running systemd: they check the files with systemd-analyze, and play the service manager's part
// (notify socket, credentials folder, environment, stop signal) for a real process.
package systemd
