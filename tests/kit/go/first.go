//go:build !second

package main

// entriesVersion is the version of the entries that this build writes.
var entriesVersion uint32 = 0
