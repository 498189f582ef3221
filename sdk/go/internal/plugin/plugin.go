// Package plugin has the routes of a plugin, and runs its callbacks: for the exports of the component, and for tests.
package plugin

import (
	"errors"
	"fmt"
	"strings"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/fault"
	"bennu.dev/bennu/internal/untyped"
)

// Call is one call of a callback, with the parameters that its kind has.
type Call struct {
	// Name is the callback, such as `handle_in`.
	Name  string
	Topic string
	// Member and Assigns are those of the member, if there is one.
	Member  uint64
	Assigns []byte
	// Room is the encoded room. It is empty if no callback has written it.
	Room []byte

	Event   string
	Payload abi.Payload
	Ref     string
	// Source is where a message comes from, and From its topic.
	Source, From string
	// Cause and Detail say why a member has ended.
	Cause, Detail string
	// Number, Missed and PeriodMS are those of a tick.
	Number           uint64
	Missed, PeriodMS uint32
	Seat, Change     string
	// Part, Version and State are those of an upgrade; Key is that of an entry.
	Part    string
	Version uint32
	State   []byte
	Key     string
}

// Reply is an answer to a message.
type Reply struct {
	Status  string
	Payload abi.Payload
}

// Result is what a callback has returned.
type Result struct {
	// Assigns, Room and State are nil if they stay as they are. An empty room is deleted.
	Assigns, Room, State []byte
	Reply                *Reply
	// IsRefused says that a join was refused, with the reply.
	IsRefused bool
	// Stop is the reason of a stop.
	Stop *string
	// Decision is `pass`, `drop`, `replace` or `hand_over`, and Instead the payload of `replace`.
	Decision string
	Instead  abi.Payload
}

// Route is a kind of topic.
type Route struct {
	Pattern                     string
	Intercepts                  []string
	AssignsVersion, RoomVersion uint32
	Options                     []abi.Pair
	// Run runs a callback. The error of a refusal is a Refuser; any other one is a fault.
	Run func(*Call) (Result, error)
}

// Routes are the routes of the plugin.
var Routes []Route

// Refuser is an error that refuses a client's message, with this response.
type Refuser interface {
	error
	Response() any
}

// Run runs a callback. The error is a fault, with the places in the source if it was a panic.
func Run(call *Call) (result Result, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = errors.New(fault.Text(problem))
		}
	}()
	route := find(call.Topic)
	if route == nil {
		return Result{}, fmt.Errorf("no route serves %q", call.Topic)
	}
	result, err = route.Run(call)
	if refusal := Refuser(nil); errors.As(err, &refusal) {
		return refused(call.Name, refusal)
	}
	return result, err
}

// refused is the result of a callback that has refused a client's message: an `error` reply, and nothing else happens.
func refused(callback string, refusal Refuser) (Result, error) {
	payload, err := Pack(refusal.Response())
	if err != nil {
		return Result{}, err
	}
	reply := &Reply{"error", payload}
	switch callback {
	case "join":
		return Result{IsRefused: true, Reply: reply}, nil
	case "handle_in", "handle_message":
		abi.Discard()
		return Result{Reply: reply}, nil
	}
	return Result{}, fmt.Errorf("%s: %w", callback, refusal)
}

// find is the route of a topic: the exact one, or else the one with the longest prefix.
func find(topic string) (found *Route) {
	longest := -1
	for at := range Routes {
		route := &Routes[at]
		prefix, isPrefix := strings.CutSuffix(route.Pattern, "*")
		if !isPrefix && route.Pattern == topic {
			return route
		}
		if isPrefix && strings.HasPrefix(topic, prefix) && len(prefix) > longest {
			found, longest = route, len(prefix)
		}
	}
	return found
}

// Payloader is a value that is a payload already.
type Payloader interface{ Packed() abi.Payload }

// Pack makes a payload of a JSON value or of bytes.
func Pack(value any) (abi.Payload, error) {
	switch value := value.(type) {
	case Payloader:
		return value.Packed(), nil
	case []byte:
		return abi.Payload{Kind: abi.Binary, Data: string(value)}, nil
	}
	text, err := untyped.Encode(value)
	if err != nil {
		return abi.Payload{}, fmt.Errorf("a payload must be a JSON value: %w", err)
	}
	return abi.Payload{Kind: abi.JSON, Data: abi.Shared(text)}, nil
}
