// Package entries is the entries of a topic with a room: an ordered map of JSON values or bytes, each kept on its own.
//
// They live as long as the room, and are stored if it is durable. A key has 1 to 255 bytes, and a value at most 1 MiB. A callback
// writes at most 4,096 entries and 4 MiB. An entry whose key begins with a prefix of Options.Publishes must be a JSON value, and not
// null. In HandleOut, and in a topic without a room, each function is a fault.
package entries

import (
	"iter"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
	"bennu.dev/bennu/internal/stored"
)

// Range is a range of keys: those that satisfy all of its conditions.
type Range = stored.Range

// deletedMax is the maximum number of entries that are deleted at once.
const deletedMax = 1000

// Get reads the value of a key, and says whether there is one.
func Get[T any](key string) (value T, is bool) {
	text, is := abi.EntryGet(key)
	if !is {
		return value, false
	}
	return stored.Decode[T](key, text), true
}

// GetMany reads the values of at most 1,000 keys, in their order. A value that doesn't exist is nil.
func GetMany[T any](keys ...string) []*T {
	values := make([]*T, len(keys))
	for n, text := range abi.EntryGetMany(keys) {
		if text != nil {
			value := stored.Decode[T](keys[n], *text)
			values[n] = &value
		}
	}
	return values
}

// Put sets the value of a key.
func Put(key string, value any) { abi.EntryPut(key, stored.Encode(key, value)) }

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value any
}

// PutMany sets the values of several keys.
func PutMany(entries ...Entry) {
	rows := make([]abi.Row, len(entries))
	for n, entry := range entries {
		rows[n] = abi.Row{Key: entry.Key, Value: stored.Encode(entry.Key, entry.Value)}
	}
	abi.EntryPutMany(rows)
}

// Delete deletes an entry. If there is none, nothing happens.
func Delete(key string) { abi.EntryDelete(key) }

// DeleteRange deletes up to 1,000 entries of a range, or up to its limit, from its beginning. It returns their number.
func DeleteRange(r Range) int {
	start, end := r.Bounds()
	limit := r.Limit
	if limit <= 0 {
		limit = deletedMax
	}
	return abi.EntryDeleteRange(start, end, uint32(limit))
}

// All reads a range of keys with their values.
func All[T any](r Range) iter.Seq2[string, T] {
	return stored.Decoded[T](stored.All(abi.EntryScan, r))
}

// GetBytes reads the bytes of a key. They are nil if there is none.
func GetBytes(key string) []byte {
	bytes, is := abi.EntryGet(key)
	if !is {
		return nil
	}
	return []byte(bytes)
}

// PutBytes sets the bytes of a key.
func PutBytes(key string, bytes []byte) { abi.EntryPut(key, string(bytes)) }

// AllBytes reads a range of keys with their bytes.
func AllBytes(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range stored.All(abi.EntryScan, r) {
			if !yield(key, []byte(value)) {
				return
			}
		}
	}
}

// Follow makes the running callback's member follow only published entries whose keys begin with such a prefix. At most 64 prefixes.
// Without a call, a member follows all of them.
func Follow(prefix string) { abi.Follow(plugin.CheckName("a prefix", prefix)) }

// Unfollow makes the member no longer follow this prefix.
func Unfollow(prefix string) { abi.Unfollow(prefix) }
