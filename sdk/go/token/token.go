// Package token is for signed tokens in the format of `Phoenix.Token`. The host needs a `secret_key_base`; without it, both functions
// are a fault.
package token

import (
	"encoding/json"
	"fmt"
	"time"

	"bennu.dev/bennu/internal/abi"
)

// Problem is the reason why a token isn't valid.
type Problem string

// The reasons why a token isn't valid.
const (
	// Missing: the token is empty.
	Missing Problem = "missing"
	// Invalid: it wasn't signed with this secret and salt, or it is damaged.
	Invalid Problem = "invalid"
	// Expired: it is too old.
	Expired Problem = "expired"
)

func (p Problem) Error() string { return "the token is " + string(p) }

// Sign signs a JSON value. The token has a maximum age: a day, if none is given.
func Sign(salt string, value any, maxAge ...time.Duration) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("a token must have a JSON value: %s", err))
	}
	is, seconds := age(maxAge)
	return abi.Sign(salt, string(text), is, seconds)
}

// Verify reads the value that was signed. The error is a Problem, or that of a value of another type. A maximum age replaces the one in
// the token.
func Verify[T any](salt, token string, maxAge ...time.Duration) (value T, err error) {
	is, seconds := age(maxAge)
	text, problem := abi.Verify(salt, token, is, seconds)
	if problem != "" {
		return value, Problem(problem)
	}
	return value, json.Unmarshal([]byte(text), &value)
}

func age(maxAge []time.Duration) (bool, uint64) {
	if len(maxAge) == 0 {
		return false, 0
	}
	return true, uint64(max(maxAge[0], 0) / time.Second)
}
