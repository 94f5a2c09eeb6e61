package chain

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// overlay holds what a block under execution has read and changed, above an unchanged map. Changes since begin can be
// undone. It is for one goroutine.
type overlay struct {
	base     *merkle.Map
	accounts map[PublicKey]*accountCell
	entries  map[string]*entryCell
	assets   map[string]bool // known or not

	tx   uint64 // serial of the transaction under way; cells remember which one saved them for undo
	undo []undo
	// err is the first error of the store. It outlasts undo: whatever an App makes of it, the block cannot be executed.
	err error
}

type accountCell struct {
	key     PublicKey
	account account
	dirty   bool
	savedBy uint64
}

// entryCell is a value that is not an account. nil means that there is none.
type entryCell struct {
	value   []byte
	dirty   bool
	savedBy uint64
}

// undo restores one cell.
type undo struct {
	account *accountCell
	oldA    accountCell
	entry   *entryCell
	oldE    entryCell
}

func newOverlay(base *merkle.Map) *overlay {
	return &overlay{
		base: base, accounts: map[PublicKey]*accountCell{}, entries: map[string]*entryCell{}, assets: map[string]bool{},
		tx: 1,
	}
}

// begin starts a transaction: rollback goes back to here.
func (o *overlay) begin() {
	o.tx++
	o.undo = o.undo[:0]
}

func (o *overlay) rollback() {
	for i := range o.undo {
		u := &o.undo[i]
		if u.account != nil {
			*u.account = u.oldA
		} else {
			*u.entry = u.oldE
		}
	}
	o.begin()
}

func (o *overlay) fail(err error) error {
	if o.err == nil {
		o.err = err
	}
	return err
}

// account returns the cell of an account. It is only read through it; to write, take what change returns.
func (o *overlay) account(k PublicKey) (*accountCell, error) {
	if c, ok := o.accounts[k]; ok {
		return c, nil
	}
	a, err := readAccount(o.base, k)
	if err != nil {
		return nil, o.fail(err)
	}
	c := &accountCell{key: k, account: a}
	o.accounts[k] = c
	return c, nil
}

// change saves a cell for undo and returns its account for writing.
func (o *overlay) change(c *accountCell) *account {
	if c.savedBy != o.tx {
		o.undo = append(o.undo, undo{account: c, oldA: *c})
		c.savedBy, c.dirty = o.tx, true
	}
	return &c.account
}

func (o *overlay) entry(key []byte) (*entryCell, error) {
	if c, ok := o.entries[string(key)]; ok {
		return c, nil
	}
	v, ok, err := o.base.Get(key)
	if err != nil {
		return nil, o.fail(fmt.Errorf("read state: %w", err))
	}
	c := &entryCell{}
	if ok {
		c.value = append(make([]byte, 0, len(v)), v...)
	}
	o.entries[string(key)] = c
	return c, nil
}

// get returns a value, which must not be changed, and whether there is one.
func (o *overlay) get(key []byte) ([]byte, bool, error) {
	c, err := o.entry(key)
	if err != nil {
		return nil, false, err
	}
	return c.value, c.value != nil, nil
}

// set stores a value, which it keeps; nil deletes.
func (o *overlay) set(key, value []byte) error {
	c, err := o.entry(key)
	if err != nil {
		return err
	}
	if value == nil && c.value == nil {
		return nil // also a key that could never be stored
	}
	if c.savedBy != o.tx {
		o.undo = append(o.undo, undo{entry: c, oldE: *c})
		c.savedBy, c.dirty = o.tx, true
	}
	c.value = value
	return nil
}

// knowsAsset reports whether an asset was issued on this chain.
func (o *overlay) knowsAsset(asset string) (bool, error) {
	if known, ok := o.assets[asset]; ok {
		return known, nil
	}
	if !validName(asset) {
		return false, nil
	}
	_, known, err := o.base.Get([]byte(supplyPrefix + asset))
	if err != nil {
		return false, o.fail(fmt.Errorf("read asset %s: %w", asset, err))
	}
	o.assets[asset] = known
	return known, nil
}

// commit returns the map with all changes applied in one update.
func (o *overlay) commit() (*merkle.Map, error) {
	invariant(o.err == nil, "commit of a block that could not read its state: %v", o.err)
	changes := make([]merkle.Change, 0, len(o.accounts)+len(o.entries))
	for k, c := range o.accounts {
		if c.dirty {
			changes = append(changes, merkle.Change{Key: accountKey(k), Value: c.account.encode()})
		}
	}
	for k, c := range o.entries {
		if c.dirty {
			changes = append(changes, merkle.Change{Key: []byte(k), Value: c.value, Delete: c.value == nil})
		}
	}
	tree, err := o.base.Update(changes) // the order of changes has no meaning
	if err != nil {
		return nil, fmt.Errorf("update state: %w", err)
	}
	return tree, nil
}
