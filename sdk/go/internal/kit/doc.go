// Package kit is a client of `bennu kit`: docs/kit.md describes the lines. It has none of the rules of a host.
package kit
