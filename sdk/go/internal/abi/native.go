//go:build !wasip1

package abi

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fields are the fields of a line that a test sends to `bennu kit`.
type Fields = map[string]any

// Ask asks `bennu kit` for a function of the host. It is set while a test runs a callback.
var Ask func(what string, fields Fields) json.RawMessage

// Fired is what the running callback of a topic was fired by.
var Fired struct {
	DueMS *uint64
	Key   string
}

func ask(what string, fields Fields) json.RawMessage {
	if Ask == nil {
		panic("`" + what + "` can only be used in a callback")
	}
	return Ask(what, fields)
}

// PayloadFields adds a payload to the fields of a line.
func PayloadFields(fields Fields, payload Payload) Fields {
	if payload.Kind == Binary {
		fields["payload_base64"] = Base64(payload.Data)
	} else {
		fields["payload_text"] = payload.Data
	}
	return fields
}

// Base64 encodes bytes.
func Base64(bytes string) string { return base64.StdEncoding.EncodeToString([]byte(bytes)) }

// Unbase64 decodes bytes, which the host has encoded.
func Unbase64(text string) string {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return string(bytes)
}

// read reads an answer of the host.
func read[T any](answer json.RawMessage) (value T) {
	if err := json.Unmarshal(answer, &value); err != nil {
		panic(err)
	}
	return value
}

// ask1 asks for a value.
func ask1[T any](what string, fields Fields) T { return read[T](ask(what, fields)) }

// send asks for an effect with a payload.
func send(what string, fields Fields, kind uint32, payload string) json.RawMessage {
	return ask(what, PayloadFields(fields, Payload{kind, payload}))
}

func Push(event string, kind uint32, payload string) {
	send("push", Fields{"event": event}, kind, payload)
}

func Broadcast(event string, kind uint32, payload string) {
	send("broadcast", Fields{"event": event}, kind, payload)
}

func BroadcastFrom(event string, kind uint32, payload string) {
	send("broadcast_from", Fields{"event": event}, kind, payload)
}

func Publish(topic, event string, kind uint32, payload string) {
	send("publish", Fields{"topic": topic, "event": event}, kind, payload)
}

func Send(topic, event string, kind uint32, payload string) {
	send("send", Fields{"topic": topic, "event": event}, kind, payload)
}

func SendMember(topic string, member uint64, event string, kind uint32, payload string) {
	send("send_member", Fields{"topic": topic, "member": member, "event": event}, kind, payload)
}

func PushToSocket(topic, socketID, event string, kind uint32, payload string) {
	send("push_to_socket", Fields{"topic": topic, "socket_id": socketID, "event": event}, kind, payload)
}

func Reply(ref, status string, kind uint32, payload string) {
	send("reply", Fields{"ref": ref, "status": status}, kind, payload)
}

func AnswerTo(ref, status string, kind uint32, payload string) {
	send("answer", Fields{"ref": ref, "status": status}, kind, payload)
}

func SendSelf(event string, kind uint32, payload string) {
	send("send_self", Fields{"event": event}, kind, payload)
}

func SendAfter(milliseconds uint64, event string, kind uint32, payload string) uint64 {
	return read[uint64](send("send_after", Fields{"ms": milliseconds, "event": event}, kind, payload))
}

func BroadcastDroppable(key, event string, kind uint32, payload string) {
	send("broadcast_droppable", Fields{"key": key, "event": event}, kind, payload)
}

func BroadcastFromDroppable(key, event string, kind uint32, payload string) {
	send("broadcast_from_droppable", Fields{"key": key, "event": event}, kind, payload)
}

func PublishDroppable(topic, key, event string, kind uint32, payload string) {
	send("publish_droppable", Fields{"topic": topic, "key": key, "event": event}, kind, payload)
}

func Schedule(topic string, atMS uint64, key, event string, kind uint32, payload string) {
	send("schedule", Fields{"topic": topic, "at_ms": atMS, "key": key, "event": event}, kind, payload)
}

func Subscribe(topic string)           { ask("subscribe", Fields{"topic": topic}) }
func Unsubscribe(topic string)         { ask("unsubscribe", Fields{"topic": topic}) }
func Disconnect(socketID string)       { ask("disconnect", Fields{"socket_id": socketID}) }
func Discard()                         { ask("discard", Fields{}) }
func Cancel(timer uint64)              { ask("cancel", Fields{"timer": timer}) }
func PublishState(state string)        { ask("publish_state", Fields{"state_text": state}) }
func TakeSeat(name string, ms uint32)  { ask("take_seat", Fields{"seat": name, "ms": ms}) }
func LeaveSeat()                       { ask("leave_seat", Fields{}) }
func Tick(milliseconds uint32)         { ask("tick", Fields{"ms": milliseconds}) }
func Track(key, meta string)           { ask("track", Fields{"key": key, "meta_text": meta}) }
func UpdatePresence(key, meta string)  { ask("update_presence", Fields{"key": key, "meta_text": meta}) }
func Untrack(key string)               { ask("untrack", Fields{"key": key}) }
func PushPresences()                   { ask("push_presences", Fields{}) }
func Follow(prefix string)             { ask("follow", Fields{"prefix": prefix}) }
func Unfollow(prefix string)           { ask("unfollow", Fields{"prefix": prefix}) }
func CancelSchedule(topic, key string) { ask("cancel_schedule", Fields{"topic": topic, "key": key}) }
func StoreDelete(key string)           { ask("delete", Fields{"key": Base64(key)}) }
func StorePut(key, value string)       { ask("put", Fields{"key": Base64(key), "value": Base64(value)}) }
func EntryDelete(key string)           { ask("entry_delete", Fields{"key": Base64(key)}) }
func EntryPut(key, value string) {
	ask("entry_put", Fields{"key": Base64(key), "value": Base64(value)})
}
func Log(level uint32, message string) {
	ask("log", Fields{"level": LevelNames[level], "message": message})
}
func Now() uint64                   { return ask1[uint64]("now", Fields{}) }
func UniqueID() string              { return ask1[string]("unique_id", Fields{}) }
func Configuration() string         { return string(ask("configuration", Fields{})) }
func Count(topic string) int        { return ask1[int]("count", Fields{"topic": topic}) }
func Presences(topic string) string { return string(ask("presences", Fields{"topic": topic})) }
func FiredKey() string              { return Fired.Key }

func StorePutExpiring(key, value string, milliseconds uint64) {
	ask("put_expiring", Fields{"key": Base64(key), "value": Base64(value), "ms": milliseconds})
}

func Random() uint64 {
	number, err := strconv.ParseUint(ask1[string]("random", Fields{}), 10, 64)
	if err != nil {
		panic(err)
	}
	return number
}

// facts are what a callback can read about its member.
type facts struct {
	SocketID      string          `json:"socket_id"`
	User          string          `json:"user"`
	Claims        json.RawMessage `json:"claims"`
	Params        json.RawMessage `json:"params"`
	XHeaders      [][2]string     `json:"x_headers"`
	JoinRef       json.RawMessage `json:"join_ref"`
	TransportName string          `json:"transport"`
}

func socket() facts         { return ask1[facts]("socket", Fields{}) }
func SocketID() string      { return socket().SocketID }
func User() string          { return socket().User }
func JoinRef() string       { return string(socket().JoinRef) }
func Claims() string        { return string(socket().Claims) }
func Transport() string     { return socket().TransportName }
func ConnectParams() string { return string(socket().Params) }
func XHeaders() []Pair      { return pairsOf(socket().XHeaders) }

func pairsOf(list [][2]string) []Pair {
	pairs := make([]Pair, len(list))
	for n, pair := range list {
		pairs[n] = Pair{pair[0], pair[1]}
	}
	return pairs
}

func AnswerRef() string {
	ref := ask1[*string]("answer_ref", Fields{})
	if ref == nil {
		return ""
	}
	return *ref
}

func Members(topic string, limit uint32) []Person {
	type person struct {
		Member   uint64 `json:"member"`
		User     string `json:"user"`
		SocketID string `json:"socket_id"`
	}
	var people []Person
	for _, one := range ask1[[]person]("members", Fields{"topic": topic, "limit": limit}) {
		people = append(people, Person(one))
	}
	return people
}

func Under(prefix, after string, limit uint32) []Topic {
	fields := Fields{"prefix": prefix, "limit": limit}
	if after != "" {
		fields["after"] = after
	}
	var topics []Topic
	for _, pair := range ask1[[][2]any]("topics", fields) {
		topics = append(topics, Topic{pair[0].(string), int(pair[1].(float64))})
	}
	return topics
}

func Sign(salt, value string, hasAge bool, age uint64) string {
	fields := Fields{"salt": salt, "value": json.RawMessage(value)}
	if hasAge {
		fields["max_age"] = age
	}
	return ask1[string]("sign", fields)
}

// Verify returns the signed value, or the name of the problem.
func Verify(salt, token string, hasAge bool, age uint64) (value, problem string) {
	fields := Fields{"salt": salt, "token": token}
	if hasAge {
		fields["max_age"] = age
	}
	answer := ask1[struct {
		Value   json.RawMessage
		Problem string
	}]("verify", fields)
	return string(answer.Value), answer.Problem
}

func Presence(topic, key string) (string, bool) {
	found := string(ask("presence", Fields{"topic": topic, "key": key}))
	return found, found != "null"
}

func ScheduleDue(topic, key string) (uint64, bool) {
	return optional(ask1[*uint64]("schedule_due", Fields{"topic": topic, "key": key}))
}

func FiredDue() (uint64, bool) { return optional(Fired.DueMS) }

func optional[T any](value *T) (T, bool) {
	if value == nil {
		var none T
		return none, false
	}
	return *value, true
}

func decoded(value *string) (string, bool) {
	text, is := optional(value)
	return Unbase64(text), is
}

func StoreGet(key string) (string, bool) {
	return decoded(ask1[*string]("get", Fields{"key": Base64(key)}))
}

func EntryGet(key string) (string, bool) {
	return decoded(ask1[*string]("entry_get", Fields{"key": Base64(key)}))
}

// bounds are the fields of a range. An empty bound is none.
func bounds(start, end string, limit uint32) Fields {
	fields := Fields{"limit": limit}
	if start != "" {
		fields["start"] = Base64(start)
	}
	if end != "" {
		fields["end"] = Base64(end)
	}
	return fields
}

func scan(what, start, end string, backward bool, limit uint32) (rows []Row) {
	fields := bounds(start, end, limit)
	fields["backward"] = backward
	for _, row := range ask1[[][2]string](what, fields) {
		rows = append(rows, Row{Unbase64(row[0]), Unbase64(row[1])})
	}
	return rows
}

// StoreScan returns the rows of a range. An empty bound is none.
func StoreScan(start, end string, backward bool, limit uint32) []Row {
	return scan("scan", start, end, backward, limit)
}

// EntryScan returns the entries of a range. An empty bound is none.
func EntryScan(start, end string, backward bool, limit uint32) []Row {
	return scan("entry_scan", start, end, backward, limit)
}

// EntryGetMany returns the values of keys. A value that is absent is nil.
func EntryGetMany(keys []string) []*string {
	encoded := []string{}
	for _, key := range keys {
		encoded = append(encoded, Base64(key))
	}
	values := ask1[[]*string]("entries_get", Fields{"keys": encoded})
	for _, value := range values {
		if value != nil {
			*value = Unbase64(*value)
		}
	}
	return values
}

func EntryPutMany(rows []Row) {
	encoded := [][2]string{}
	for _, row := range rows {
		encoded = append(encoded, [2]string{Base64(row.Key), Base64(row.Value)})
	}
	ask("entries_put", Fields{"entries": encoded})
}

func EntryDeleteRange(start, end string, limit uint32) int {
	return ask1[int]("entries_delete_range", bounds(start, end, limit))
}

// httpFields are the fields of a request by HTTP.
func httpFields(method, url string, headers, settings []Pair) Fields {
	list := [][2]string{}
	for _, header := range headers {
		list = append(list, [2]string{header.Name, header.Value})
	}
	fields := Fields{"method": method, "url": url, "headers": list}
	for _, setting := range settings {
		// `bennu kit` has the names of the contract, with numbers where the contract has texts.
		name := strings.ReplaceAll(setting.Name, "-", "_")
		if fields[name] = setting.Value; strings.HasSuffix(name, "_ms") {
			fields[name] = json.RawMessage(setting.Value)
		}
	}
	return fields
}

func HTTPGet(method, url string, headers, settings []Pair) Answer {
	return ReadAnswer(ask("http_get", httpFields(method, url, headers, settings)))
}

func HTTPRequest(key, method, url string, headers []Pair, body string, settings []Pair) {
	fields := httpFields(method, url, headers, settings)
	fields["key"] = key
	if !utf8.ValidString(body) {
		panic("`bennu kit` takes only bodies in UTF-8")
	}
	fields["body"] = body
	ask("http_request", fields)
}

func HTTPDeliver(url string, headers []Pair, body string, settings []Pair) string {
	fields := httpFields("", url, headers, settings)
	delete(fields, "method")
	fields["body_base64"] = Base64(body)
	return read[string](ask("http_deliver", fields))
}
