// Package storetest opens stores in memory and writes to them, for tests of the packages that move what is in stores.
package storetest
