// Package abi is the contract between a plugin and its host, as functions of Go.
//
// In a plugin, they are the imports of its component. In a test, they are functions of `bennu kit`.
package abi

import "unsafe"

// The kinds of a payload.
const (
	JSON   uint32 = 0
	Binary uint32 = 1
)

// Payload is the content of a message: the text of a JSON value, or bytes.
type Payload struct {
	Kind uint32
	Data string
}

// Pair is a header or a setting.
type Pair struct{ Name, Value string }

// Row is a key with its value.
type Row struct{ Key, Value string }

// Person is a member of a topic.
type Person struct {
	Member         uint64
	User, SocketID string
}

// Topic is a topic with members.
type Topic struct {
	Name    string
	Members int
}

// Answer is the answer of a server, or the reason why there is none.
type Answer struct {
	Status        int
	Headers       []Pair
	Body          string
	Kind, Detail  string
	HasNoResponse bool
}

// Address is an address of a gatekeeper's request.
type Address struct {
	IP   string
	Port uint16
}

// Location is the address that a client requested.
type Location struct {
	Scheme, Host string
	Port         uint16
	Path, Query  string
}

// The levels of the log.
const (
	Trace uint32 = iota
	Debug
	Info
	Warn
	Error
)

// LevelNames are the names of the levels, in the order of their numbers.
var LevelNames = [...]string{"trace", "debug", "info", "warn", "error"}

// Shared is bytes as a string, without a copy. They may not change any more.
func Shared(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }
