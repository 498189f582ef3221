// Package stored has what packages store and entries share.
package stored

import (
	"fmt"
	"iter"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/untyped"
)

// scanMax is the maximum number of rows of one scan of the host.
const scanMax = 1000

// Range is a range of keys: those that satisfy all of its conditions. A condition that is empty isn't one.
type Range struct {
	// Prefix is the text that the keys begin with.
	Prefix string
	// From is the first key of the range.
	From string
	// To is the first key after the range.
	To string
	// Reverse is the order from the last key to the first.
	Reverse bool
	// Limit is the maximum number of keys, if it isn't 0.
	Limit int
}

// Bounds are the first key of the range, and the first one after it.
func (r Range) Bounds() (start, end string) {
	start, end = r.From, r.To
	if r.Prefix == "" {
		return start, end
	}
	start = max(start, r.Prefix)
	if after := after(r.Prefix); end == "" || (after != "" && after < end) {
		end = after
	}
	return start, end
}

// after is the first key after all keys with a prefix. It is empty if there is none.
func after(prefix string) string {
	bytes := []byte(prefix)
	for len(bytes) > 0 && bytes[len(bytes)-1] == 0xff {
		bytes = bytes[:len(bytes)-1]
	}
	if len(bytes) > 0 {
		bytes[len(bytes)-1]++
	}
	return string(bytes)
}

// Scan is a function of the host that reads a range.
type Scan func(start, end string, backward bool, limit uint32) []abi.Row

// All reads a range, as many rows at once as the host gives.
func All(scan Scan, r Range) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		start, end := r.Bounds()
		left := r.Limit
		for {
			limit := scanMax
			if left > 0 {
				limit = min(left, scanMax)
			}
			rows := scan(start, end, r.Reverse, uint32(limit))
			for _, row := range rows {
				if !yield(row.Key, row.Value) {
					return
				}
			}
			// A scan also ends early when it has 1 MiB, so only an empty one is the last.
			if left -= len(rows); len(rows) == 0 || (r.Limit > 0 && left <= 0) {
				return
			}
			if last := rows[len(rows)-1].Key; r.Reverse {
				end = last
			} else {
				start = last + "\x00"
			}
		}
	}
}

// Decoded are rows whose values are JSON.
func Decoded[T any](rows iter.Seq2[string, string]) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for key, value := range rows {
			if !yield(key, Decode[T](key, value)) {
				return
			}
		}
	}
}

// Decode reads a value. A value of another type is a panic.
func Decode[T any](key, text string) (value T) {
	if err := untyped.Unmarshal(text, &value); err != nil {
		panic(fmt.Sprintf("the value of %q is no %T: %s", key, value, err))
	}
	return value
}

// Encode is the JSON of a value. A value that can't be JSON is a panic.
func Encode(key string, value any) string {
	text, err := untyped.Encode(value)
	if err != nil {
		panic(fmt.Sprintf("the value of %q can't be JSON: %s", key, err))
	}
	return abi.Shared(text)
}
