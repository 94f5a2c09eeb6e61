// Package sync moves a chain's state and its final blocks from those who have them to one who does not: a newcomer, or a
// node that was away for long. It trusts nobody: what arrives counts only as far as the processor key of genesis signed
// it, and each piece is compared with its hash before it is stored.
package sync
