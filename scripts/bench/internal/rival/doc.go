// Package rival is what baton is compared with: a ledger of accounts on hashicorp/raft, with raft-wal as log and stable
// store and raft's own TCP transport, behind the HTTP front of node/api.
//
// A node parses and verifies each transaction that it meets, once: what a client or another node handed to it when it
// comes in, everything else when it is applied, there on all cores. A node that does not lead hands transactions to the
// leader over one connection that carries many at a time. A transaction is answered when the leader has applied it.
package rival
