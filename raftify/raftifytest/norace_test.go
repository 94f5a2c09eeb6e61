//go:build !race

package raftifytest_test

const defaultSeeds = 5000
