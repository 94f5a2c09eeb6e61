//go:build race

package raftifytest_test

// defaultSeeds is small here: there is one goroutine a cluster, and the detector makes it ten times slower.
const defaultSeeds = 100
