package config

import (
	"fmt"

	"github.com/baton-ha/baton/node/chain"
)

// maxGenesisBytes bounds genesis.json.
const maxGenesisBytes = 64 << 20

// LoadGenesis reads and validates the genesis.json at path. What stands in it, and what a chain makes of it, is the
// business of [chain.Genesis]; the error names the file and what is wrong in it.
func LoadGenesis(path string) (*chain.Genesis, error) {
	data, err := readBounded(path, maxGenesisBytes)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	g, err := chain.ParseGenesis(data)
	if err != nil {
		return nil, fmt.Errorf("genesis %s: %w", path, err)
	}
	return g, nil
}
