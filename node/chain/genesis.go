package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// NativeAsset is the asset that every chain has, even one on which nobody was given any.
const NativeAsset = "native"

// maxSigners bounds a [SignerSet].
const maxSigners = 1024

// ErrBadGenesis is returned when a genesis file is malformed or breaks a bound.
var ErrBadGenesis = errors.New("bad genesis")

// Genesis is the content of a genesis file: all that a chain starts from. Its JSON form is the file's. It is a plain
// value; an [Executor] keeps a copy of its own.
type Genesis struct {
	// ChainID names the chain; every payload repeats it.
	ChainID string `json:"chain_id"`
	// ChainVersion is the code version that executes block 1.
	ChainVersion string `json:"chain_version"`
	// Created is genesis's block time. The block has it in milliseconds, the state in full.
	Created time.Time `json:"created"`
	// Processor holds the key that signs blocks.
	Processor Processor `json:"processor"`
	// Listeners and Approvers are the outside parties of the bridge and of upgrades.
	Listeners SignerSet `json:"listeners"`
	Approvers SignerSet `json:"approvers"`
	// Balances are the first holdings, by account and asset, each above zero.
	Balances map[PublicKey]map[string]Amount `json:"balances"`
}

// Processor is the part of a [Genesis] about the processor.
type Processor struct {
	PublicKey PublicKey `json:"public_key"`
}

// SignerSet is a set of keys of which Quorum must sign. The order of the keys has no meaning. The empty set has quorum 0.
type SignerSet struct {
	Quorum     int         `json:"quorum"`
	PublicKeys []PublicKey `json:"public_keys"`
}

// MarshalJSON returns the content of a genesis file: what is empty is written as empty, since the file has no null.
func (g Genesis) MarshalJSON() ([]byte, error) {
	type plain Genesis // without this method
	c := plain(*g.clone())
	for _, s := range []*SignerSet{&c.Listeners, &c.Approvers} {
		if s.PublicKeys == nil {
			s.PublicKeys = []PublicKey{}
		}
	}
	return json.Marshal(c)
}

// ParseGenesis reads a genesis file strictly (unknown, missing or repeated fields are refused) and validates it. Errors
// are [ErrBadGenesis] and name what is wrong.
func ParseGenesis(data []byte) (*Genesis, error) {
	v, err := scanJSON(data, limits{depth: 4, values: 1 << 24})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadGenesis, err)
	}
	f, err := newFields(v, "genesis")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadGenesis, err)
	}
	g := &Genesis{ChainID: f.String("chain_id"), ChainVersion: f.String("chain_version")}
	created := f.String("created")
	processor, listeners, approvers := f.Object("processor"), f.Object("listeners"), f.Object("approvers")
	balances, _ := f.take("balances", kindObject)
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadGenesis, err)
	}
	g.Processor.PublicKey = processor.PublicKey("public_key")
	if err := processor.Err(); err != nil {
		return nil, fmt.Errorf("%w: processor: %w", ErrBadGenesis, err)
	}
	if g.Listeners, err = readSigners(listeners); err != nil {
		return nil, fmt.Errorf("%w: listeners: %w", ErrBadGenesis, err)
	}
	if g.Approvers, err = readSigners(approvers); err != nil {
		return nil, fmt.Errorf("%w: approvers: %w", ErrBadGenesis, err)
	}
	if g.Created, err = time.Parse(time.RFC3339Nano, created); err != nil {
		return nil, fmt.Errorf("%w: created: %w", ErrBadGenesis, err)
	}
	if g.Balances, err = readBalances(balances); err != nil {
		return nil, fmt.Errorf("%w: balances: %w", ErrBadGenesis, err)
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return g, nil
}

func readSigners(f *Fields) (SignerSet, error) {
	quorum := f.Uint64("quorum")
	list, _ := f.take("public_keys", kindArray)
	if err := f.Err(); err != nil {
		return SignerSet{}, err
	}
	if quorum > maxSigners {
		return SignerSet{}, fmt.Errorf("quorum %d, at most %d", quorum, maxSigners)
	}
	s := SignerSet{Quorum: int(quorum), PublicKeys: make([]PublicKey, len(list.list))}
	for i := range list.list {
		k, err := parsePublicKey(list.list[i].value.text)
		if err != nil || list.list[i].value.kind != kindString {
			return SignerSet{}, fmt.Errorf("public_keys[%d]: %w", i, ErrBadPublicKey)
		}
		s.PublicKeys[i] = k
	}
	return s, nil
}

func readBalances(v value) (map[PublicKey]map[string]Amount, error) {
	balances := make(map[PublicKey]map[string]Amount, len(v.list))
	for i := range v.list {
		name, holdings := v.list[i].name, v.list[i].value
		k, err := parsePublicKey(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoted(name), err)
		}
		if _, twice := balances[k]; twice {
			return nil, fmt.Errorf("%s stands twice", k)
		}
		if holdings.kind != kindObject {
			return nil, fmt.Errorf("%s is %s, expected an object", k, holdings.kind)
		}
		byAsset := make(map[string]Amount, len(holdings.list))
		for j := range holdings.list {
			asset, number := holdings.list[j].name, holdings.list[j].value
			a, err := parseAmount(number.text)
			if err != nil || number.kind != kindString {
				return nil, fmt.Errorf("%s: %s: not a string with a plain decimal integer below 2^256", k, quoted(asset))
			}
			byAsset[string(asset)] = a
		}
		balances[k] = byAsset
	}
	return balances, nil
}

// Validate reports all problems at once, joined, each an [ErrBadGenesis]; nil if there are none.
func (g *Genesis) Validate() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: %s", ErrBadGenesis, fmt.Sprintf(format, args...)))
	}
	for _, f := range []struct{ field, value string }{{"chain_id", g.ChainID}, {"chain_version", g.ChainVersion}} {
		if !validName(f.value) {
			report("%s: %s is not 1 to %d of the characters A-Z a-z 0-9 . _ : / -", f.field, quoted([]byte(f.value)), maxNameBytes)
		}
	}
	if g.Created.IsZero() || g.Created.UnixMilli() < 0 || g.Created.UTC().Year() > 9999 {
		report("created: %s is not between 1970 and 9999", g.Created.Format(time.RFC3339))
	}
	if g.Processor.PublicKey == (PublicKey{}) {
		report("processor.public_key: is missing")
	}
	for _, s := range []struct {
		field string
		set   SignerSet
	}{{"listeners", g.Listeners}, {"approvers", g.Approvers}} {
		if p := s.set.problem(); p != "" {
			report("%s: %s", s.field, p)
		}
	}
	g.validateBalances(report)
	return errors.Join(problems...)
}

func (g *Genesis) validateBalances(report func(format string, args ...any)) {
	supply, fits, full := g.supply()
	for asset := range supply {
		full = full && validName(asset)
	}
	if !full {
		g.reportBalances(report)
	}
	if !fits {
		report("balances: all accounts together hold 2^256 or more of an asset")
	}
	if len(supply) > maxAssets {
		report("balances: %d assets, at most %d", len(supply), maxAssets)
	}
}

// reportBalances reports what is wrong with single balances, in order.
func (g *Genesis) reportBalances(report func(format string, args ...any)) {
	for _, k := range g.accounts() {
		byAsset := g.Balances[k]
		if len(byAsset) == 0 {
			report("balances.%s: is empty", k)
		}
		for _, asset := range slices.Sorted(maps.Keys(byAsset)) {
			if !validName(asset) {
				report("balances.%s: asset %s is not 1 to %d of the characters A-Z a-z 0-9 . _ : / -",
					k, quoted([]byte(asset)), maxNameBytes)
			}
			if byAsset[asset].IsZero() {
				report("balances.%s.%s: is zero", k, asset)
			}
		}
	}
}

// problem returns what is wrong with a set, or nothing.
func (s *SignerSet) problem() string {
	n := len(s.PublicKeys)
	sorted := s.sorted()
	switch {
	case n > maxSigners:
		return fmt.Sprintf("%d public_keys, at most %d", n, maxSigners)
	case s.Quorum < 0 || s.Quorum > n:
		return fmt.Sprintf("quorum %d of %d public_keys", s.Quorum, n)
	case s.Quorum == 0 && n > 0:
		return "quorum 0 would let anybody act; it must be at least 1"
	case len(slices.Compact(sorted)) != n:
		return "a public key stands twice"
	case slices.Contains(s.PublicKeys, PublicKey{}):
		return "a public key is zero"
	}
	return ""
}

// sorted returns a sorted copy of the keys.
func (s *SignerSet) sorted() []PublicKey {
	keys := slices.Clone(s.PublicKeys)
	slices.SortFunc(keys, comparePublicKeys)
	return keys
}

// accounts returns the accounts of the balances, sorted.
func (g *Genesis) accounts() []PublicKey {
	return slices.SortedFunc(maps.Keys(g.Balances), comparePublicKeys)
}

// supply returns the total of every asset, whether all of them fit 256 bits, and whether every account has something and
// nothing of which it has zero.
func (g *Genesis) supply() (total map[string]Amount, fits, full bool) {
	total = map[string]Amount{NativeAsset: {}}
	fits, full = true, true
	for _, byAsset := range g.Balances {
		full = full && len(byAsset) > 0
		for asset, a := range byAsset {
			sum, ok := total[asset].Add(a)
			total[asset], fits = sum, fits && ok
			full = full && !a.IsZero()
		}
	}
	return total, fits, full
}

// account returns what an account starts with.
func (g *Genesis) account(k PublicKey) (a account) {
	byAsset := g.Balances[k]
	a.holdings = make([]holding, 0, len(byAsset))
	for asset, amount := range byAsset {
		a.holdings = append(a.holdings, holding{asset, amount})
	}
	slices.SortFunc(a.holdings, func(x, y holding) int { return strings.Compare(x.asset, y.asset) })
	return a
}

// clone returns a copy that shares nothing.
func (g *Genesis) clone() *Genesis {
	c := *g
	c.Listeners.PublicKeys = slices.Clone(g.Listeners.PublicKeys)
	c.Approvers.PublicKeys = slices.Clone(g.Approvers.PublicKeys)
	c.Balances = make(map[PublicKey]map[string]Amount, len(g.Balances))
	for k, byAsset := range g.Balances {
		c.Balances[k] = maps.Clone(byAsset)
	}
	return &c
}

func comparePublicKeys(a, b PublicKey) int { return bytes.Compare(a[:], b[:]) }

// validName reports whether s is 1 to 64 characters that need no escape anywhere.
func validName(s string) bool {
	if len(s) == 0 || len(s) > maxNameBytes {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("._:/-", c) >= 0:
		default:
			return false
		}
	}
	return true
}
