package bennu

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"bennu.dev/bennu/entries"
	"bennu.dev/bennu/http"
	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
	"bennu.dev/bennu/schedule"
)

func payload(text string) Payload { return Payload{abi.Payload{Kind: abi.JSON, Data: text}} }

// panicked is the text of the panic of a function.
func panicked(function func()) (text string) {
	defer func() {
		if problem := recover(); problem != nil {
			text = fmt.Sprint(problem)
		}
	}()
	function()
	return ""
}

func TestAMistakeOfAClientIsARefusalThatNamesTheField(t *testing.T) {
	type order struct {
		Amount int
		Items  []struct{ Name string }
	}
	for _, test := range []struct{ given, want string }{
		{`{"amount": "many"}`, "amount: expected a whole number, and not string"},
		{`{"items": [{"name": 1}]}`, "name: expected a string, and not number"},
		{`[1]`, "payload: expected an object, and not array"},
		{`{"amount": 1}`, ""},
	} {
		err := payload(test.given).Into(&order{})
		if text := fmt.Sprint(err); (err == nil) != (test.want == "") || (err != nil && !strings.Contains(strings.ToLower(text), test.want)) {
			t.Errorf("%s: %v, and not %s", test.given, err, test.want)
		}
	}
	for _, test := range []struct{ given, want string }{
		{`{}`, "user: missing, expected a string"},
		{`{"user": 1}`, "user: expected a string, and not number"},
		{`"x"`, "payload: expected an object, and not string"},
	} {
		if _, err := Field[string](payload(test.given), "user"); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, and not %s", test.given, err, test.want)
		}
	}
	bytes := Payload{abi.Payload{Kind: abi.Binary, Data: "x"}}
	if err := bytes.Into(&order{}); err == nil || bytes.JSON() != "" || string(bytes.Bytes()) != "x" {
		t.Error(err)
	}
	if _, err := json.Marshal(M{"part": bytes}); err == nil {
		t.Error("bytes became a part of JSON")
	}
	if text, err := json.Marshal(M{"part": payload(`{"a": 1}`)}); err != nil || string(text) != `{"part":{"a":1}}` {
		t.Error(string(text), err)
	}
}

func TestWhatTheHostWouldRefuseIsAPanic(t *testing.T) {
	var socket Socket[None]
	for want, function := range map[string]func(){
		"the payload of `x` must be an object, and not [1]":            func() { socket.Push("x", []int{1}) },
		"the payload of `x` must be an object, and not null":           func() { socket.Broadcast("x", json.RawMessage("null")) },
		"an event has at most 255 bytes":                               func() { socket.BroadcastFrom(strings.Repeat("e", 256), nil) },
		"a topic has at most 255 bytes":                                func() { socket.Subscribe(strings.Repeat("t", 256)) },
		"a prefix has at most 255 bytes":                               func() { entries.Follow(strings.Repeat("p", 256)) },
		"a key has at most 255 bytes":                                  func() { schedule.Cancel("t", strings.Repeat("k", 256)) },
		"an order key has at most 255 bytes":                           func() { http.Deliver(http.Delivery{Order: strings.Repeat("o", 256)}) },
		"a meta must be an object, and not \"x\"":                      func() { socket.Track("key", "x") },
		"a payload must be a JSON value: json: unsupported type: chan": func() { socket.SendSelf("x", make(chan int)) },
		"a grace period is from 0 to 86400000 ms, and not 48h0m0s":     func() { socket.TakeSeat("a", 48*time.Hour) },
		"`push` can only be used in a callback":                        func() { socket.Push("x", nil) },
	} {
		if text := panicked(function); !strings.HasPrefix(text, want) {
			t.Errorf("%q, and not %q", text, want)
		}
	}
}

type member struct{ Name string }

func (*member) Join(*Socket[None], Payload) (any, error)             { return nil, nil }
func (*member) HandleIn(*Socket[None], string, Payload) (any, error) { return nil, nil }

type forgetful struct {
	member
	Lists map[string][]struct{ hidden int }
}

type mistaken struct{ member }

func (*mistaken) HandleTick(*Topic[None]) error { return nil }

type pipe struct {
	member
	Queue chan int
}

type kept struct {
	member
	At    time.Time
	cache int `json:"-"`
	Next  *kept
}

func TestAChannelThatCannotWorkIsRefused(t *testing.T) {
	defer func() { plugin.Routes = nil }()
	for want, serve := range map[string]func(){
		"the host can't keep the field hidden of bennu.forgetful":           func() { Serve[forgetful, None]("a") },
		"the method HandleTick of bennu.mistaken has a different signature": func() { Serve[mistaken, None]("a") },
		"the host can't keep bennu.pipe: it has a chan int":                 func() { Serve[pipe, None]("a") },
		"": func() { Serve[kept, None]("a") },
	} {
		if text := panicked(serve); !strings.HasPrefix(text, want) || (text == "") != (want == "") {
			t.Errorf("%q, and not %q", text, want)
		}
	}
}

func TestTheOptionsOfARoute(t *testing.T) {
	settings := Options{
		Durable: true, Linger: -1, TickFaults: -1, HistoryCount: 5, HistoryAge: time.Minute, Publishes: []string{"a/", "b/"},
		OneAtATime: true, KeepOnFault: true, EntriesVersion: 2, StartTopics: []string{"lobby"},
	}.settings(false)
	want := "[{room durable} {turns topic} {on-fault keep} {linger-ms 0} {tick-faults 0} {entries-version 2} {history-count 5} " +
		"{history-ms 60000} {publishes a/} {publishes b/} {start-topics lobby}]"
	if fmt.Sprint(settings) != want {
		t.Fatal(settings)
	}
	if settings := (Options{}).settings(false); len(settings) != 0 {
		t.Fatal(settings)
	}
	if settings := (Options{}).settings(true); fmt.Sprint(settings) != "[{room memory}]" {
		t.Fatal(settings)
	}
}

type counter struct{ Count, Other int }

func (c *counter) Defaults() { c.Other = 7 }

func TestAStateIsKeptIfItHasChanged(t *testing.T) {
	changed := func(before string, change func(*state[counter])) string {
		is := state[counter]{bytes: []byte(before), isPlain: isPlain(reflect.TypeFor[counter]())}
		change(&is)
		after, err := is.changed()
		if err != nil {
			t.Fatal(err)
		}
		if after == nil {
			return "same"
		}
		return string(after)
	}
	for _, test := range []struct {
		before, want string
		change       func(*state[counter])
	}{
		{"", "same", func(is *state[counter]) {}},
		{"", "same", func(is *state[counter]) { is.value() }},
		{"", `{"Count":1,"Other":7}`, func(is *state[counter]) { is.value().Count = 1 }},
		{`{"Count":1}`, "same", func(is *state[counter]) { is.value() }},
		{`{"Count":1,"Other":2}`, "same", func(is *state[counter]) { is.value() }},
		{`{"Count":1,"Other":2}`, "", func(is *state[counter]) { is.clear() }},
		{`{"Count":1,"Other":2}`, `{"Count":3,"Other":7}`, func(is *state[counter]) { is.clear(); is.value().Count = 3 }},
	} {
		if after := changed(test.before, test.change); after != test.want {
			t.Errorf("%s: %s, and not %s", test.before, after, test.want)
		}
	}
}

func TestOnlyACopyThatSharesNothingIsCompared(t *testing.T) {
	for _, value := range []any{counter{}, "", 1.5, [2]struct{ A bool }{}} {
		if !isPlain(reflect.TypeOf(value)) {
			t.Errorf("%T isn't plain", value)
		}
	}
	for _, value := range []any{[]int{}, struct{ A map[string]int }{}, &counter{}, [1]struct{ A any }{}} {
		if isPlain(reflect.TypeOf(value)) {
			t.Errorf("%T is plain", value)
		}
	}
	list := state[[]int]{bytes: []byte("[1]")}
	(*list.value())[0] = 2
	if after, err := list.changed(); string(after) != "[2]" || err != nil {
		t.Error(string(after), err)
	}
}
