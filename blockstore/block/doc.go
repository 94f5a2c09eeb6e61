// Package block is the ground that every other package of baton stands on: the block, the transaction, their hashes,
// their signatures and the exact bytes of all of these. It imports nothing of ours, has no state and does no I/O.
//
// # Promise
//
// The bytes described here never change. A different layout gets a new version byte and a new domain line, and the old
// one stays readable; a golden test holds the present one in place. Every encoding is deterministic and has exactly one
// form: whatever [Decode] accepts, [Block.Encode] gives back byte for byte. Decoders check each declared length against
// the bytes that are there before they allocate, and refuse trailing bytes.
//
// # Notation
//
// All integers are big-endian. u8, u16, u32, u64 are unsigned integers of that many bits; "text" is a u16 length
// followed by that many bytes of UTF-8 (at most [MaxStringBytes]); || joins bytes. Domain lines such as
// "baton/tx/v1\n" end with one line feed (byte 0x0a) and have no length in front.
//
// # Transaction
//
//	hash      = SHA-256("baton/tx/v1\n" || payload)
//	signature = Ed25519 by the sender's key over "baton/tx/v1\n" || payload
//
// The payload is opaque here (at most [MaxPayloadBytes]); node/chain gives it meaning.
//
// # Block hash, recomputed from the HTTP answer
//
// A client that has the JSON of GET /v1/blocks/{height} and knows the chain id (GET /v1/status, or the genesis file) can
// recompute the hash with nothing but SHA-256. Hex fields are decoded to raw bytes first.
//
//	tx_root = SHA-256("baton/txs/v1\n" || for each transaction in order: hash (32) || signature (64))
//	hash    = SHA-256("baton/header/v1\n" || header)
//
//	header = u8   1                 layout version
//	         text chain_id
//	         u64  height
//	         32   parent_hash       zero for height 0
//	         u64  time              Unix milliseconds, two's complement
//	         text chain_version
//	         32   state_root        root AFTER this block's transactions
//	         text proposer          id of the node that made the block
//	         u64  term              term in which it was made
//	         32   tx_root
//	         u32  number of transactions
//
// The hash therefore covers all that the answer shows, the transactions' signatures included, except the block's own
// signature and its signer.
//
// # Block signature
//
//	signature = Ed25519 by the processor key over "baton/block/v1\n" || hash (32)
//
// Ed25519 signing is deterministic (RFC 8032), so whichever node holds the key produces the same 64 bytes for a block.
//
// # Encoded block
//
// The form on disk and between nodes:
//
//	block = u8 1                    encoding version
//	        header                  as above
//	        for each transaction:   u32 payload length || payload || signature (64)
//
// The number of transactions is the header's. Decode recomputes tx_root and refuses a block whose transactions do not
// match its header: a decoded block is consistent in itself. It says nothing about who proposed it, whether its parent
// exists or whether its transactions are valid.
//
// Height 0, genesis, has an ordinary header (zero parent, no transactions) and goes through the same code.
//
// # Limits
//
// [MaxPayloadBytes], [MaxBlockBytes], [MaxTxs], [MaxStringBytes]. [New] holds its caller to them as an invariant (a
// block over the limits is a mistake of the proposer's own code); Decode answers [ErrTooLarge].
package block
