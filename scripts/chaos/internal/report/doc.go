// Package report is what a chaos run leaves behind: a [Result] as JSON, the same as JUnit XML for a CI system, one HTML
// page for a person, and a summary for the terminal.
package report
