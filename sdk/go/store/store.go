// Package store is the storage that outlives the host: keys in the order of their bytes, each with a JSON value or with bytes.
//
// A callback is a transaction, and reads its own writes. A key has 1 to 1,024 bytes, and a value at most 1 MiB. A callback writes at
// most 1,024 keys and 4 MiB. A gatekeeper and HandleOut can only read. A value that can't be read as the type that is asked for is a
// panic, and so a fault.
package store

import (
	"fmt"
	"iter"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/stored"
)

// Range is a range of keys: those that satisfy all of its conditions.
type Range = stored.Range

// Get reads the value of a key, and says whether there is one.
func Get[T any](key string) (value T, is bool) {
	text, is := abi.StoreGet(key)
	if !is {
		return value, false
	}
	return stored.Decode[T](key, text), true
}

// Put stores a value.
func Put(key string, value any) { abi.StorePut(key, stored.Encode(key, value)) }

// PutExpiring stores a value for a time. After that, no callback sees the key.
func PutExpiring(key string, value any, lifetime time.Duration) {
	if lifetime < 0 {
		panic(fmt.Sprintf("a time to live can't be negative: %s", lifetime))
	}
	abi.StorePutExpiring(key, stored.Encode(key, value), uint64(lifetime.Milliseconds()))
}

// Delete deletes a key. If there is none, nothing happens.
func Delete(key string) { abi.StoreDelete(key) }

// All reads a range of keys with their values.
func All[T any](r Range) iter.Seq2[string, T] {
	return stored.Decoded[T](stored.All(abi.StoreScan, r))
}

// GetBytes reads the bytes of a key. They are nil if there is none.
func GetBytes(key string) []byte {
	bytes, is := abi.StoreGet(key)
	if !is {
		return nil
	}
	return []byte(bytes)
}

// PutBytes stores bytes.
func PutBytes(key string, bytes []byte) { abi.StorePut(key, string(bytes)) }

// AllBytes reads a range of keys with their bytes.
func AllBytes(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range stored.All(abi.StoreScan, r) {
			if !yield(key, []byte(value)) {
				return
			}
		}
	}
}
