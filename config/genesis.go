package config

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

// maxGenesisBytes bounds genesis.json.
const maxGenesisBytes = 64 << 20

// Genesis is genesis.json as it stands in the file, checked. What a chain makes of it, its hash and first state, is
// the business of node/chain.
type Genesis struct {
	// ChainID names the chain; it is part of every transaction and block.
	ChainID string `json:"chain_id"`
	// ChainVersion is the version of the rules that the chain starts with.
	ChainVersion string `json:"chain_version"`
	// Created is when the chain was made, RFC 3339 in UTC.
	Created string `json:"created"`
	// Processor is the key that signs blocks.
	Processor ProcessorKey `json:"processor"`
	// Listeners watch the chain for the outside; a quorum of them speaks for all.
	Listeners Quorum `json:"listeners"`
	// Approvers approve what leaves the chain; a quorum of them speaks for all.
	Approvers Quorum `json:"approvers"`
	// Balances are the first amounts: public key in hex, asset, decimal amount.
	Balances map[string]map[string]string `json:"balances"`
}

// ProcessorKey is the processor section of genesis.json.
type ProcessorKey struct {
	// PublicKey is 64 hex digits.
	PublicKey string `json:"public_key"`
}

// Quorum is a set of keys of which K speak for all.
type Quorum struct {
	// K is how many of the keys it takes; 0 if and only if there are no keys.
	K int `json:"quorum"`
	// PublicKeys are 64 hex digits each, every one once.
	PublicKeys []string `json:"public_keys"`
}

// LoadGenesis reads and validates the genesis.json at path.
func LoadGenesis(path string) (*Genesis, error) {
	data, err := readBounded(path, maxGenesisBytes)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	g, err := ParseGenesis(data)
	if err != nil {
		return nil, fmt.Errorf("genesis %s: %w", path, err)
	}
	return g, nil
}

// ParseGenesis is [LoadGenesis] on the bytes of the file.
func ParseGenesis(data []byte) (*Genesis, error) {
	var g Genesis
	if err := decodeStrict(data, &g); err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return &g, nil
}

// Validate joins everything that is wrong with g, each part a [FieldError], or returns nil.
func (g *Genesis) Validate() error {
	var p problems
	p.id("chain_id", g.ChainID)
	p.id("chain_version", g.ChainVersion)
	if _, err := g.CreatedTime(); err != nil {
		p.add("created", g.Created, "a time in UTC such as 2026-01-02T15:04:05Z, 1970 or later")
	}
	if _, err := ParsePublicKey(g.Processor.PublicKey); err != nil {
		p.add("processor.public_key", g.Processor.PublicKey, "64 hex digits")
	}
	g.Listeners.validate(&p, "listeners")
	g.Approvers.validate(&p, "approvers")
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(g.Balances)) {
		field := "balances." + key
		if _, err := ParsePublicKey(key); err != nil {
			p.add("balances", key, "keys of 64 hex digits")
			continue
		}
		if seen[strings.ToLower(key)] {
			p.add(field, key, "each public key once")
		}
		seen[strings.ToLower(key)] = true
		for _, asset := range slices.Sorted(maps.Keys(g.Balances[key])) {
			if !validID(asset) {
				p.add(field, asset, "asset names of letters, digits, dots, dashes or underscores")
			}
			if _, err := ParseAmount(g.Balances[key][asset]); err != nil {
				p.add(field+"."+asset, g.Balances[key][asset], "a decimal amount, more than 0 and less than 2^256")
			}
		}
		if len(p.errs) > maxProblems {
			break
		}
	}
	return errors.Join(p.errs...)
}

func (q *Quorum) validate(p *problems, field string) {
	if n := len(q.PublicKeys); n == 0 && q.K != 0 {
		p.add(field+".quorum", q.K, "0, since there are no %s.public_keys", field)
	} else if n > 0 {
		p.inRange(field+".quorum", q.K, 1, n)
	}
	seen := map[string]bool{}
	for i, key := range q.PublicKeys {
		if _, err := ParsePublicKey(key); err != nil {
			p.add(fmt.Sprintf("%s.public_keys[%d]", field, i), key, "64 hex digits")
		} else if seen[strings.ToLower(key)] {
			p.add(fmt.Sprintf("%s.public_keys[%d]", field, i), key, "each key once")
		}
		seen[strings.ToLower(key)] = true
	}
}

// CreatedTime is Created as a time.
func (g *Genesis) CreatedTime() (time.Time, error) {
	t, err := time.Parse(time.RFC3339, g.Created)
	if err != nil {
		return time.Time{}, err
	}
	if !strings.HasSuffix(g.Created, "Z") || t.UnixMilli() < 0 {
		return time.Time{}, errors.New("not in UTC, or before 1970")
	}
	return t, nil
}

// ParseAmount reads a plain decimal integer of more than 0 and less than 2^256: digits only, no leading zero.
func ParseAmount(text string) (*big.Int, error) {
	plain := text != "" && len(text) <= 78 && text[0] != '0'
	for i := range len(text) {
		plain = plain && text[i] >= '0' && text[i] <= '9'
	}
	if plain {
		if n, ok := new(big.Int).SetString(text, 10); ok && n.BitLen() <= 256 {
			return n, nil
		}
	}
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	return nil, fmt.Errorf("%q is not an amount: want a decimal integer, more than 0 and less than 2^256", text)
}
