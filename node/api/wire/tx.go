package wire

import "github.com/baton-ha/baton/blockstore/block"

// TxRequest is the body of POST /v1/transactions.
type TxRequest struct {
	// Payload is the signed JSON text, byte for byte.
	Payload string `json:"payload"`
	// Signature is Ed25519 over "baton/tx/v1\n" and the payload.
	Signature block.Signature `json:"signature"`
}

// NewTxRequest returns the request that submits tx. The payload must be UTF-8; another one cannot travel in JSON.
func NewTxRequest(tx *block.Tx) TxRequest {
	return TxRequest{Payload: string(tx.Payload), Signature: tx.Signature}
}

// Receipt says where in the chain a final transaction stands. The same transaction has the same receipt for ever and on
// every node.
type Receipt struct {
	// Hash is the transaction's.
	Hash block.Hash `json:"hash"`
	// Height is that of the transaction's block, Index its place there, counted from 0.
	Height block.Height `json:"height"`
	Index  uint32       `json:"index"`
	// BlockHash is the hash of the block at Height.
	BlockHash block.Hash `json:"block_hash"`
}

// Accepted is the body of the 202 answer to ?wait=accepted. It promises nothing durable.
type Accepted struct {
	Hash block.Hash `json:"hash"`
}

// Account is the state of one account. An account that nobody has paid yet reads as nonce 0 without balances.
type Account struct {
	// PublicKey is the account's key, hex.
	PublicKey string `json:"public_key"`
	// Nonce is the one that the account's next transaction must carry.
	Nonce uint64 `json:"nonce"`
	// Balances maps an asset to a decimal amount.
	Balances map[string]string `json:"balances"`
	// Height is the final height at which the account was read.
	Height block.Height `json:"height"`
	// Proof is there if it was asked for: of the state's entry that has all the above.
	Proof *StateProof `json:"proof,omitempty"`
}
