//go:build race

package demo

// raceFlag builds the nodes like the test: with the race detector.
const raceFlag = true
