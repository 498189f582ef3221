// Package host is what a plugin reads from its host, and its log.
//
// The host's time is also that of package time. Take random numbers from here, and not from package math/rand: each instance of the
// plugin has a state of its own there, so `bennu test` and `bennu dev`, which run each call on two instances, see different results.
package host

import (
	"encoding/json"
	"fmt"
	"time"

	"bennu.dev/bennu/internal/abi"
)

// Now is the host's time, in milliseconds. In a native test, it is the time of the test.
func Now() time.Time { return time.UnixMilli(int64(abi.Now())) }

// UniqueID is an id of 20 characters that no other call gets, on this host or on any node of its cluster. Ids sort in the order in which
// they were created. Two ids that two nodes create at about the same time may sort in either order.
func UniqueID() string { return abi.UniqueID() }

// Random is a random number from the operating system's generator.
func Random() uint64 { return abi.Random() }

// IntN is a random number from 0 to n − 1.
func IntN(n int) int {
	if n <= 0 {
		panic("a range of random numbers must not be empty")
	}
	// Numbers after the last full range would make small results more likely.
	for limit := -uint64(n) % uint64(n); ; {
		if number := abi.Random(); number >= limit {
			return int(number % uint64(n))
		}
	}
}

// Config reads the plugin's configuration: the table `plugins.NAME.config`.
func Config[T any]() (config T) {
	if err := json.Unmarshal([]byte(abi.Configuration()), &config); err != nil {
		panic(fmt.Sprintf("the configuration of the plugin: %s", err))
	}
	return config
}

// Debugf writes a line to the host's log, at a level that is off by default.
func Debugf(format string, args ...any) { abi.Log(abi.Debug, fmt.Sprintf(format, args...)) }

// Infof writes a line to the host's log.
func Infof(format string, args ...any) { abi.Log(abi.Info, fmt.Sprintf(format, args...)) }

// Warnf writes a line to the host's log about a problem that somebody should look at.
func Warnf(format string, args ...any) { abi.Log(abi.Warn, fmt.Sprintf(format, args...)) }

// Errorf writes a line to the host's log about a failure.
func Errorf(format string, args ...any) { abi.Log(abi.Error, fmt.Sprintf(format, args...)) }
