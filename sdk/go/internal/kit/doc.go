// Package kit is a client of `bennu kit`: `bennu docs kit` describes the lines. It has none of the rules of a host.
package kit
