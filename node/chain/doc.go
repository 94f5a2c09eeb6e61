// Package chain executes transactions: it parses and checks what clients sent, builds a block of it on top of a state,
// and executes a block that another node built to reach the same state. It is pure: no clock, no memory of the chain,
// no I/O but reads of state nodes. Equal arguments give equal results on every node, which is what makes the state root
// in a block's header worth comparing.
//
// # Use
//
//	e, err := chain.New(genesis, chain.Ledger{})       // one App a code version
//	block0, state, err := e.Genesis(store)             // or chain.LoadState(store, root, node, height, hash, time)
//	tx, err := e.Parse(raw)                            // stateless: format, chain, signature
//	b, next, verdicts, err := e.Build(state, spec, []*chain.Tx{tx})   // the leader
//	next, err := e.Apply(state, b)                     // everybody else
//
// A [State] is an immutable snapshot: hold as many as there are uncommitted blocks, and drop those that lose. A block
// costs one update of the state map, whatever it holds.
//
// # Payload
//
// A payload is one JSON text, read strictly: RFC 8259 without extensions, UTF-8, nothing after the object, at most 16
// levels deep. A field that nobody asked for, that is missing or that stands twice (also under another spelling of its
// escapes) makes it malformed, at any depth.
//
//	{"chain_id":"…","public_key":"<64 hex>","nonce":0,"messages":[{"type":"transfer",
//	 "to":"<64 hex>","asset":"native","amount":"5"}],"max_height":0}
//
// nonce and max_height are numbers of digits only; max_height may be left out, 0 means no limit. Hex may have either
// case. There are 1 to [MaxMessages] messages. Amounts are strings of digits without leading zeros, above 0 and below
// 2^256. What a message may hold besides its type is for the App to say.
//
// # Rules of execution
//
// A transaction enters a block iff its height limit has not passed, its nonce is exactly the account's next one, and
// every message succeeds. Then all its messages take effect and the nonce grows by one. Otherwise nothing happens: it
// uses no nonce and stands in no block. A block has at least one transaction. Its time is the proposer's clock or the
// parent's time, whichever is later; execution sees the header's time only.
//
// An error of the node store is never a verdict on a transaction or a block: it comes back as an error of its own kind,
// since another node may well read what this one cannot.
//
// # State
//
// The state is a [github.com/baton-ha/baton/blockstore/merkle.Map]. Integers are big-endian, || joins bytes, "short" is a u8 length and that many bytes.
//
//	"c/chain_id"        the chain id
//	"c/chain_version"   the code version that executes the next block
//	"c/created"         genesis's "created", RFC 3339 in UTC with the fraction that it has
//	"c/processor"       32 bytes, the key that signs blocks
//	"c/listeners"       u8 1 (layout version) || u32 quorum || the public keys, sorted, 32 bytes each
//	"c/approvers"       the same
//	"a/" || public key  an account:
//	                    u8 1 (layout version) || u64 nonce || u16 number of holdings ||
//	                    for each, sorted by asset: short asset || short amount without leading zeros, above zero
//	"s/" || asset       short amount: all that was issued of the asset. An asset without an entry is unknown.
//	"x/" || name || 0 || key    what the App of that name stored under key
//
// Everything in the genesis file is among these entries, so the state root of block 0, and with it the genesis hash,
// covers the file's whole content (though not the order of keys in it or the case of hex digits). Nothing issues assets
// after genesis: of each asset the accounts together always hold the amount under "s/".
//
// # Code versions
//
// An [Executor] may hold several Apps, one a code version, and executes each block with the one whose version equals
// the chain version of the parent's state. Nothing changes the chain version yet. A payload is decoded by the first App
// that can, and again by the executing one if that is another.
//
// # Signatures
//
// A node mostly sees a transaction twice: when it is submitted and when its block is applied. Signatures found good are
// therefore remembered for a while, by transaction hash AND signature: the hash alone does not cover the signature, and
// a block that carried a bad signature for a known hash must not pass on one node and fail on another.
//
// # Limits
//
// Payload and block sizes are those of package block. Everything a payload makes a node allocate is bounded by its
// size. Names of chains, versions, Apps and assets have 1 to 64 characters of A-Z a-z 0-9 . _ : / -.
package chain
