// Package bennutest tests a plugin natively, with `go test`. `bennu kit` is the host, so its rules are those of a real one. The command
// `bennu` must be on the PATH, or in the variable BENNU; `bennu test` and `bennu dev --test` set it.
package bennutest
