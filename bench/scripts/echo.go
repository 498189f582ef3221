// The events of the plugin `echo` that the benchmarks use, in Go.
package main

import "bennu.dev/bennu"

// Echo is a member's own state.
type Echo struct {
	Count int
}

// Socket is a member of a topic without a room.
type Socket = bennu.Socket[bennu.None]

func init() { bennu.Serve[Echo, bennu.None]("bench:*") }

func (e *Echo) Join(*Socket, bennu.Payload) (any, error) { return nil, nil }

func (e *Echo) HandleIn(_ *Socket, event string, payload bennu.Payload) (any, error) {
	switch event {
	case "echo":
		return payload, nil
	case "parse":
		var value any
		err := payload.Into(&value)
		return value, err
	case "count":
		e.Count++
		return bennu.M{"count": e.Count}, nil
	case "build":
		return bennu.M{"build": 1}, nil
	case "work":
		return work(payload)
	}
	return bennu.UnknownEvent(event)
}

// work takes longer than a millisecond, so that other calls need instances of their own.
func work(payload bennu.Payload) (any, error) {
	rounds, err := bennu.Field[int](payload, "rounds")
	if err != nil {
		return nil, err
	}
	sum := 0
	for round := range rounds {
		sum += round
	}
	return bennu.M{"sum": sum}, nil
}

func main() {}
