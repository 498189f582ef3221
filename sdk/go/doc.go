// Package bennu is for channels of a Bennu host, in Go.
//
// A channel is a struct: the state of one member. Its methods are the callbacks of the channel. The host keeps the struct between
// two calls, encoded as JSON, and across reloads.
//
//	type Chat struct{ User string }
//
//	func init() { bennu.Serve[Chat, bennu.None]("room:*") }
//
// `bennu build` compiles a package `main` to a plugin. Package bennutest tests it natively.
package bennu
