//go:build !race

package raftifytest_test

// defaultSeeds are, with the 2000 of node/nodetest, ten thousand.
const defaultSeeds = 8000
