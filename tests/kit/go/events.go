package main

import (
	"iter"
	"strings"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/entries"
	"bennu.dev/bennu/host"
	"bennu.dev/bennu/http"
	"bennu.dev/bennu/schedule"
	"bennu.dev/bennu/store"
)

// orNil is a value, or nil if there is none.
func orNil(value any, is bool) any {
	if !is {
		return nil
	}
	return value
}

// listed are the keys of a range with their values, as the scripts ask for them. A limit of 0 means none to the scripts.
func listed(fields Fields, all func(store.Range) iter.Seq2[string, any]) [][2]any {
	r := store.Range{Prefix: text(fields, "prefix"), To: text(fields, "before"), Reverse: fields["backward"] == true}
	if after, is := fields["after"].(string); is {
		r.From = after + "\x00"
	}
	list := [][2]any{}
	limit, is := fields["limit"].(float64)
	if r.Limit = int(limit); is && r.Limit == 0 {
		return list
	}
	for key, value := range all(r) {
		list = append(list, [2]any{key, value})
	}
	return list
}

// stored handles the events about the store.
func stored(_ *Socket, event string, fields Fields) (any, error, bool) {
	key := text(fields, "key")
	switch event {
	case "store_put":
		store.Put(key, fields["value"])
	case "store_put_expiring":
		store.PutExpiring(key, fields["value"], time.Duration(number(fields, "ms"))*time.Millisecond)
		return answered(orNil(store.Get[any](key)))
	case "store_get":
		return answered(orNil(store.Get[any](key)))
	case "store_delete":
		store.Delete(key)
	case "store_scan":
		return answered(listed(fields, store.All[any]))
	case "store_count":
		count, _ := store.Get[int](key)
		store.Put(key, count+1)
		return answered(bennu.M{"count": count + 1})
	case "store_own":
		seen := []any{orNil(store.Get[any](key))}
		store.Put(key, 1)
		seen = append(seen, orNil(store.Get[any](key)))
		store.Delete(key)
		seen = append(seen, orNil(store.Get[any](key)))
		store.Put(key, 2)
		return answered(append(seen, orNil(store.Get[any](key))))
	case "store_then_fail":
		store.Put(key, fields["value"])
		fail("asked to fail after a put")
	case "store_no_key":
		store.Put("", 1)
	case "store_long_key":
		store.Put(strings.Repeat("k", 1025), 1)
	case "store_long_value":
		store.PutBytes("k", make([]byte, 1<<20+1))
	case "store_many":
		for n := range 1025 {
			store.Put("many:"+string(rune('a'+n%26))+strings.Repeat("x", n/26), n)
		}
	case "store_much":
		for n := range 5 {
			store.PutBytes("much:"+string(rune('0'+n)), make([]byte, 1_000_000))
		}
	default:
		return nil, nil, false
	}
	return ok, nil, true
}

// null is an answer that is JSON's null. nil is no answer.
var null = []any(nil)

// answered is an answer of a handler, also if it is null.
func answered(value any) (any, error, bool) {
	if value == nil {
		value = null
	}
	return value, nil, true
}

func isThere(topic, key string) bool {
	_, is := schedule.Due(topic, key)
	return is
}

func scheduleOne(topic string, fields Fields) {
	event := "ring"
	if given, is := fields["event"].(string); is {
		event = given
	}
	payload := any(bennu.M{})
	if given, is := fields["payload"]; is {
		payload = given
	}
	schedule.After(topic, time.Duration(number(fields, "ms"))*time.Millisecond, text(fields, "key"), event, payload)
	store.Put("asked:"+text(fields, "key"), true)
}

// timed handles the events about schedules, of members and of topic messages.
func timed(topic, event string, fields Fields) (any, bool) {
	key := text(fields, "key")
	switch event {
	case "schedule", "schedule_then_refuse":
		scheduleOne(topic, fields)
	case "schedule_then_fail":
		scheduleOne(topic, fields)
		fail("asked to fail after a schedule")
	case "unschedule":
		schedule.Cancel(topic, key)
	case "is_scheduled":
		return bennu.M{"is": isThere(topic, key)}, true
	case "schedule_own":
		seen := []bool{isThere(topic, key)}
		for _, after := range []time.Duration{time.Minute, 90 * time.Second} {
			schedule.After(topic, after, key, "ring", nil)
			seen = append(seen, isThere(topic, key))
		}
		schedule.Cancel(topic, key)
		return append(seen, isThere(topic, key)), true
	case "schedule_elsewhere":
		schedule.After("elsewhere:1", 0, "key", "ring", nil)
	case "schedule_many":
		for n := range number(fields, "count") {
			key := strings.Repeat("k", n/100) + string(rune(' '+n%100))
			schedule.After(topic, time.Duration(number(fields, "ms"))*time.Millisecond, key, "ring", nil)
		}
	default:
		return nil, false
	}
	return ok, true
}

// refusedOf is the refusal of an event that refuses after its effects.
func refusedOf(event string) error {
	if event == "schedule_then_refuse" {
		return bennu.Refuse("too late")
	}
	return nil
}

func timedOfMember(socket *Socket, event string, fields Fields) (any, error, bool) {
	if event == "give_answer" {
		return answered(giveAnswer(fields, socket.Answer))
	}
	answer, is := timed(socket.TopicName(), event, fields)
	return answer, refusedOf(event), is
}

func giveAnswer(fields Fields, answer func(string, any)) any {
	waiting, _ := store.Get[string]("waiting:" + text(fields, "to"))
	if waiting != "" {
		answer(waiting, fields["value"])
	}
	return bennu.M{"was_waiting": waiting != ""}
}

// told is what the host tells the topic.
func told(topic *Topic, message bennu.TopicMessage) {
	fields := read(message.Payload)
	after := time.Duration(number(fields, "ms")) * time.Millisecond
	switch message.Event {
	case "fail":
		fail("asked to fail in handle_topic_info")
	case "fail_at_first":
		if host.Now().Before(message.Due.Add(after)) {
			fail("asked to fail at first in handle_topic_info")
		}
	case "again":
		schedule.After(topic.TopicName(), after, message.Key, "ring", nil)
	}
	counter, key := "rung:"+message.Key, any(message.Key)
	if message.Key == "" {
		counter, key = "rung:"+message.Source, nil
	}
	times, _ := store.Get[int](counter)
	store.Put(counter, times+1)
	topic.Broadcast("rung", bennu.M{
		"source": message.Source, "key": key, "event": message.Event, "payload": message.Payload, "times": times + 1,
	})
}

// shown is an answer by HTTP for a client.
func shown(response *http.Response, err error) bennu.M {
	if err != nil {
		return bennu.M{"failure": err.(*http.Failure).Kind}
	}
	return bennu.M{"status": response.Status, "body": string(response.Body)}
}

// httpGet asks by HTTP, so many times. It returns the last answer.
func httpGet(fields Fields) (answer bennu.M) {
	for range max(number(fields, "times"), 1) {
		answer = shown(http.Get(http.Request{Method: text(fields, "method"), URL: text(fields, "url")}))
	}
	return answer
}

func httpSend(fields Fields) any {
	http.Send("http_answer", http.Request{URL: text(fields, "url"), Body: []byte(text(fields, "body"))})
	return ok
}

// deliver delivers a request, so many times.
func deliver(fields Fields) any {
	header := http.Header{}
	given, _ := fields["headers"].([]any)
	for _, pair := range given {
		pair := pair.([]any)
		header[pair[0].(string)] = pair[1].(string)
	}
	delivery := http.Delivery{
		URL: text(fields, "url"), Header: header, Body: []byte(text(fields, "body")), Order: text(fields, "order"),
		Expires: time.Duration(number(fields, "expires_ms")) * time.Millisecond, OnFailure: text(fields, "on_failure"),
	}
	id := ""
	for range max(number(fields, "times"), 1) {
		id = http.Deliver(delivery)
	}
	store.Put("delivered:"+text(fields, "body"), true)
	return bennu.M{"length": len(id)}
}

// asked handles the events about requests by HTTP.
func asked(_ *Socket, event string, fields Fields) (any, error, bool) {
	switch event {
	case "http_get":
		return answered(httpGet(fields))
	case "http_send":
		return answered(httpSend(fields))
	case "deliver":
		return answered(deliver(fields))
	case "deliver_then_fail":
		deliver(fields)
		fail("asked to fail after a delivery")
	case "http_count":
		count, _ := store.Get[int](text(fields, "key"))
		response, err := http.Get(http.Request{URL: text(fields, "url")})
		if err != nil {
			return nil, err, true
		}
		store.Put(text(fields, "key"), count+1)
		return answered(bennu.M{"count": count + 1, "body": string(response.Body)})
	}
	return nil, nil, false
}

func entryOfMember(socket *Socket, event string, fields Fields) (any, error, bool) {
	return entryEvent(socket.Discard, event, fields)
}

// entryEvent handles the events about entries, of members and of topic messages.
func entryEvent(discard func(), event string, fields Fields) (any, error, bool) {
	key := text(fields, "key")
	switch event {
	case "entry_put":
		entries.Put(key, fields["value"])
	case "entry_get":
		return answered(orNil(entries.Get[any](key)))
	case "entry_delete":
		entries.Delete(key)
	case "entries":
		return answered(listed(fields, entries.All[any]))
	case "entries_put":
		list := []entries.Entry{}
		for _, pair := range fields["entries"].([]any) {
			pair := pair.([]any)
			list = append(list, entries.Entry{Key: pair[0].(string), Value: pair[1]})
		}
		entries.PutMany(list...)
	case "entries_get":
		keys := []string{}
		for _, key := range fields["keys"].([]any) {
			keys = append(keys, key.(string))
		}
		return answered(entries.GetMany[any](keys...))
	case "entries_clear":
		return answered(bennu.M{"deleted": entries.DeleteRange(entries.Range{Limit: number(fields, "limit")})})
	case "entries_own":
		seen := []any{orNil(entries.Get[any](key))}
		entries.Put(key, 1)
		seen = append(seen, orNil(entries.Get[any](key)))
		entries.Delete(key)
		seen = append(seen, orNil(entries.Get[any](key)))
		entries.Put(key, 2)
		return answered(append(seen, orNil(entries.Get[any](key))))
	case "entry_read_then_fail":
		entries.Get[any](key)
		fail("asked to fail after a read")
	case "entry_then_fail":
		entries.Put(key, fields["value"])
		fail("asked to fail after a put")
	case "entry_then_refuse":
		entries.Put(key, fields["value"])
		return nil, bennu.Refuse("too late"), true
	case "entry_after_discard":
		discard()
		entries.Put(key, fields["value"])
	case "entry_no_key":
		entries.Put("", 1)
	case "entry_long_key":
		entries.Put(strings.Repeat("k", 256), 1)
	case "entry_long_value":
		entries.PutBytes("ballast/k", make([]byte, 1<<20+1))
	case "entries_many":
		list := []entries.Entry{}
		for n := range 4097 {
			list = append(list, entries.Entry{Key: "many/" + string(rune(1000+n)), Value: n})
		}
		entries.PutMany(list...)
	case "entries_much":
		for n := range 5 {
			entries.Put("ballast/"+string(rune('0'+n)), strings.Repeat("x", 1_000_000))
		}
	case "entries_get_many":
		entries.GetMany[any](make([]string, 1001)...)
	default:
		return nil, nil, false
	}
	return ok, nil, true
}
