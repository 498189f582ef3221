package abi

import "unsafe"

// The functions that give something back. A result of more than one number is written to an area that the call names.

//go:wasmimport bennu:channel/host@0.1.0 now
func Now() uint64

//go:wasmimport bennu:channel/host@0.1.0 random
func Random() uint64

//go:wasmimport bennu:channel/host@0.1.0 unique-id
func uniqueID(result unsafe.Pointer)

//go:wasmimport bennu:channel/host@0.1.0 configuration
func configuration(result unsafe.Pointer)

//go:wasmimport bennu:channel/host@0.1.0 log
func Log(level uint32, message string)

//go:wasmimport bennu:channel/member@0.1.0 socket-id
func socketID(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 user
func user(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 join-ref
func joinRef(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 claims
func claims(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 transport
func transport(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 connect-params
func connectParams(result unsafe.Pointer)

//go:wasmimport bennu:channel/member@0.1.0 x-headers
func xHeaders(result unsafe.Pointer)

//go:wasmimport bennu:channel/topics@0.1.0 count
func count(topic string) uint32

//go:wasmimport bennu:channel/topics@0.1.0 members
func members(topic string, limit uint32, result unsafe.Pointer)

//go:wasmimport bennu:channel/topics@0.1.0 under
func under(prefix string, hasAfter uint32, after string, limit uint32, result unsafe.Pointer)

//go:wasmimport bennu:channel/topics@0.1.0 answer-ref
func answerRef(result unsafe.Pointer)

//go:wasmimport bennu:channel/token@0.1.0 sign
func sign(salt, value string, hasAge uint32, age uint64, result unsafe.Pointer)

//go:wasmimport bennu:channel/token@0.1.0 verify
func verify(salt, token string, hasAge uint32, age uint64, result unsafe.Pointer)

//go:wasmimport bennu:channel/presence@0.1.0 list
func presences(topic string, result unsafe.Pointer)

//go:wasmimport bennu:channel/presence@0.1.0 get
func presence(topic, key string, result unsafe.Pointer)

//go:wasmimport bennu:channel/schedule@0.1.0 get
func scheduleDue(topic, key string, result unsafe.Pointer)

//go:wasmimport bennu:channel/schedule@0.1.0 due
func firedDue(result unsafe.Pointer)

//go:wasmimport bennu:channel/schedule@0.1.0 key
func firedKey(result unsafe.Pointer)

// text calls a function whose result is a string.
func text(call func(unsafe.Pointer)) string {
	text := ask(call).Text(0)
	release()
	return text
}

// option calls a function whose result is a string that may be absent.
func option(call func(unsafe.Pointer)) (string, bool) {
	text, is := ask(call).Option(0)
	release()
	return text, is
}

// pairList calls a function whose result is a list of pairs.
func pairList(call func(unsafe.Pointer)) []Pair {
	pairs := ask(call).Pairs(0)
	release()
	return pairs
}

// flag is the first part of a value that may be absent.
func flag(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}

func UniqueID() string      { return text(uniqueID) }
func Configuration() string { return text(configuration) }
func JoinRef() string       { return text(joinRef) }
func Claims() string        { return text(claims) }
func Transport() string     { return text(transport) }
func ConnectParams() string { return text(connectParams) }

func SocketID() string {
	id, _ := option(socketID)
	return id
}

func User() string {
	name, _ := option(user)
	return name
}

func AnswerRef() string {
	ref, _ := option(answerRef)
	return ref
}

func XHeaders() []Pair { return pairList(xHeaders) }

func Count(topic string) int { return int(count(topic)) }

func Members(topic string, limit uint32) []Person {
	list := ask(func(result unsafe.Pointer) { members(topic, limit, result) }).List(0, 32)
	people := make([]Person, len(list))
	for n, person := range list {
		people[n].Member = person.U64(0)
		people[n].User, _ = person.Option(8)
		people[n].SocketID, _ = person.Option(20)
	}
	release()
	return people
}

func Under(prefix, after string, limit uint32) []Topic {
	list := ask(func(result unsafe.Pointer) { under(prefix, flag(after != ""), after, limit, result) }).List(0, 12)
	topics := make([]Topic, len(list))
	for n, topic := range list {
		topics[n] = Topic{topic.Text(0), int(topic.U32(8))}
	}
	release()
	return topics
}

func Sign(salt, value string, hasAge bool, age uint64) string {
	return text(func(result unsafe.Pointer) { sign(salt, value, flag(hasAge), age, result) })
}

// problems are the names of the reasons why a token isn't valid, in the order of their numbers.
var problems = [...]string{"missing", "invalid", "expired"}

// Verify returns the signed value, or the name of the problem.
func Verify(salt, token string, hasAge bool, age uint64) (value, problem string) {
	view := ask(func(result unsafe.Pointer) { verify(salt, token, flag(hasAge), age, result) })
	if view.U8(0) == 0 {
		value = view.Text(4)
	} else {
		problem = problems[view.U8(4)]
	}
	release()
	return value, problem
}

func Presences(topic string) string {
	return text(func(result unsafe.Pointer) { presences(topic, result) })
}

func Presence(topic, key string) (string, bool) {
	return option(func(result unsafe.Pointer) { presence(topic, key, result) })
}

// time calls a function whose result is a time that may be absent.
func time(call func(unsafe.Pointer)) (uint64, bool) {
	view := ask(call)
	return view.U64(8), view.U8(0) != 0
}

func ScheduleDue(topic, key string) (uint64, bool) {
	return time(func(result unsafe.Pointer) { scheduleDue(topic, key, result) })
}

func FiredDue() (uint64, bool) { return time(firedDue) }

func FiredKey() string {
	key, _ := option(firedKey)
	return key
}
