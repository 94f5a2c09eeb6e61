//go:build !race

package demo

// raceFlag builds the nodes like the test: without the race detector.
const raceFlag = false
