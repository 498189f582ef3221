package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/kit"
	"bennu.dev/bennu/internal/plugin"
)

// The test kit plays the scripts of tests/scripts.

// skipped are the scripts that need a compiled plugin.
const skipped = "traps.script"

func TestTheKitPlaysEveryScript(t *testing.T) {
	scripts, err := filepath.Glob("../../scripts/*.script")
	if err != nil || len(scripts) < 20 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		if filepath.Base(script) == skipped {
			continue
		}
		t.Run(filepath.Base(script), func(t *testing.T) {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			reload(0)
			cast := &cast{kit: kit.Start(t), actors: map[string]*actor{}}
			cast.kit.Must("host", abi.Fields{
				"config": abi.Fields{"greeting": "hello"}, "publish": []string{"granted:*", "user_socket:*"},
				"read": []string{"granted:*", "exactly"},
			}, nil)
			for at, line := range strings.Split(string(text), "\n") {
				if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "--") {
					continue
				}
				if err := cast.line(line); err != nil {
					var faults []kit.Fault
					cast.kit.Must("faults", abi.Fields{}, &faults)
					t.Fatalf("%d: %s\n%s\nfaults: %v", at+1, line, err, faults)
				}
			}
		})
	}
}

// reload registers the routes of the build with this version of entries.
func reload(version uint32) {
	entriesVersion, plugin.Routes = version, nil
	serve()
}

// anything stands for any value.
const anything = "…"

var strOrAnything = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|…`)

// pattern is expected JSON, in which an ellipsis outside of strings stands for any value.
func pattern(text string) any {
	quoted := strOrAnything.ReplaceAllStringFunc(text, func(part string) string {
		if part == anything {
			return `"` + anything + `"`
		}
		return part
	})
	var value any
	if err := json.Unmarshal([]byte(quoted), &value); err != nil {
		panic(fmt.Errorf("%s: %w", text, err))
	}
	return value
}

func matches(expected, received any) bool {
	if expected == anything {
		return true
	}
	switch expected := expected.(type) {
	case map[string]any:
		given, is := received.(map[string]any)
		if !is || len(given) != len(expected) {
			return false
		}
		for name, value := range expected {
			if one, is := given[name]; !is || !matches(value, one) {
				return false
			}
		}
		return true
	case []any:
		given, is := received.([]any)
		if !is || len(given) != len(expected) {
			return false
		}
		for at, value := range expected {
			if !matches(value, given[at]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(expected, received)
}

// cut is the first word, and the rest.
func cut(text string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimSpace(text), " ")
	return first, strings.TrimSpace(rest)
}

// words is a message in a script's words: `EVENT [on TOPIC] [#LABEL] [PAYLOAD]`.
type words struct {
	word, topic, status, label string
	payload                    any
}

func wordsOf(text string, beginsWithTopic bool) (message words) {
	var rest string
	message.word, rest = cut(text)
	if beginsWithTopic {
		message.topic = message.word
		message.word, rest = cut(rest)
	}
	switch message.word {
	case "reply":
		message.status, rest = cut(rest)
	case "ok", "error":
		message.status = message.word
	case "join":
		if rest != "" {
			message.topic, rest = cut(rest)
		}
	}
	for {
		next, after := cut(rest)
		if next == "on" {
			message.topic, rest = cut(after)
		} else if strings.HasPrefix(next, "#") {
			message.label, rest = next, after
		} else {
			break
		}
	}
	if message.payload = any(map[string]any{}); rest != "" {
		message.payload = pattern(rest)
	}
	return message
}

// actor is a client.
type actor struct {
	client        uint64
	last, topic   string
	labels, joins map[string]string
}

// cast plays a script.
type cast struct {
	kit    *kit.Kit
	actors map[string]*actor
	answer any
}

func (c *cast) actor(who string) *actor {
	if c.actors[who] == nil {
		c.connect(who, abi.Fields{})
	}
	return c.actors[who]
}

func (c *cast) connect(who string, identity abi.Fields) {
	actor := &actor{labels: map[string]string{}, joins: map[string]string{}}
	c.kit.Must("connect", identity, &actor.client)
	c.actors[who] = actor
}

func (c *cast) push(actor *actor, message words) {
	topic := message.topic
	if topic == "" {
		topic = actor.topic
	}
	event := map[string]string{"join": "phx_join", "leave": "phx_leave"}[message.word]
	if event == "" {
		event = message.word
	}
	fields := abi.Fields{"client": actor.client, "topic": topic, "event": event, "payload": message.payload}
	if join, is := actor.joins[topic]; is && event != "phx_join" {
		fields["join_ref"] = join
	}
	c.kit.Must("push", fields, &actor.last)
	if event == "phx_join" {
		actor.joins[topic], actor.topic = actor.last, topic
	}
	if message.label != "" {
		actor.labels[message.label] = actor.last
	}
}

// expects are the expected frames. The next frame must be one of them.
func (a *actor) expects(message words) []any {
	topic, ref := message.topic, a.last
	if topic == "" {
		topic = a.topic
	}
	if message.label != "" {
		ref = a.labels[message.label]
	}
	join := any(nil)
	if known, is := a.joins[topic]; is {
		join = known
	}
	frame := func(parts ...any) []any { return []any{parts} }
	switch {
	case message.status != "":
		return frame(join, ref, topic, "phx_reply", map[string]any{"status": message.status, "response": message.payload})
	case message.word == "unmatched":
		response := map[string]any{"reason": "unmatched topic"}
		return frame(nil, ref, topic, "phx_reply", map[string]any{"status": "error", "response": response})
	case message.word == "phx_close":
		return frame(join, join, topic, "phx_close", map[string]any{})
	case message.word == "phx_error":
		return frame(join, join, topic, "phx_error", map[string]any{"reason": "channel_crash"})
	}
	return []any{[]any{nil, nil, topic, message.word, message.payload}, []any{join, nil, topic, message.word, message.payload}}
}

func (c *cast) see(who string, expected ...any) error {
	var received any
	if next := c.kit.Next(c.actor(who).client); next != nil && next.Closed != 0 {
		received = map[string]any{"closed": float64(next.Closed)}
	} else if next != nil {
		received = next.Frame[:]
	}
	for _, one := range expected {
		if matches(one, received) {
			return nil
		}
	}
	return fmt.Errorf("expected %v\nreceived %v", expected, received)
}

func (c *cast) line(text string) error {
	who, rest := cut(text)
	verb, what := cut(rest)
	switch {
	case who == "clock":
		duration, err := time.ParseDuration(what)
		if err != nil {
			return err
		}
		c.kit.Must("advance", abi.Fields{"ms": duration.Milliseconds()}, nil)
	case who == "http":
		c.http(what)
	case who == "host":
		return c.host(verb, what)
	case verb == "=":
		c.connect(who, pattern(what).(map[string]any))
	case verb == ">" && strings.HasPrefix(what, "["):
		c.kit.Must("frame", abi.Fields{"client": c.actor(who).client, "frame": json.RawMessage(what)}, nil)
	case verb == ">":
		c.push(c.actor(who), wordsOf(what, false))
	case verb == "x":
		c.kit.Must("close", abi.Fields{"client": c.actor(who).client}, nil)
		delete(c.actors, who)
	case verb == "~":
		return c.see(who, nil)
	case verb == "<" && strings.HasPrefix(what, "close "):
		code, err := strconv.Atoi(strings.Fields(what)[1])
		if err != nil {
			return err
		}
		defer delete(c.actors, who)
		return c.see(who, map[string]any{"closed": float64(code)})
	case verb == "<" && strings.HasPrefix(what, "["):
		return c.see(who, pattern(what))
	case verb == "<":
		return c.see(who, c.actor(who).expects(wordsOf(what, false))...)
	default:
		return fmt.Errorf("no such verb: %s", verb)
	}
	return nil
}

func (c *cast) http(what string) {
	method, rest := cut(what)
	url, after := cut(rest)
	outcome, body := cut(after)
	fields := abi.Fields{"method": method, "url": url}
	if status, err := strconv.Atoi(outcome); err == nil {
		fields["status"] = status
	} else {
		fields["failure"] = outcome
	}
	if body != "" {
		text, err := json.Marshal(pattern(body))
		if err != nil {
			panic(err)
		}
		fields["body"] = string(text)
	}
	c.kit.Must("http", fields, nil)
}

func (c *cast) host(verb, what string) error {
	if verb == "<" {
		message := wordsOf(what, false)
		expected := any([]any{message.status, message.payload})
		if message.word == "none" {
			expected = "none"
		}
		if !matches(expected, c.answer) {
			return fmt.Errorf("expected %v\nreceived %v", expected, c.answer)
		}
		return nil
	}
	act, rest := cut(what)
	switch act {
	case "reload":
		version := uint32(1)
		if rest == "naughty naughty" {
			version = 0
		}
		reload(version)
		c.kit.Serve()
		return nil
	case "disconnect":
		closed := 0
		if c.kit.Must("disconnect", abi.Fields{"socket_id": rest}, &closed); closed == 0 {
			return fmt.Errorf("no socket has the id %s", rest)
		}
		return nil
	}
	message := wordsOf(rest, true)
	var reply *struct {
		Status  string
		Payload any
	}
	err := c.kit.Do(act, abi.Fields{"topic": message.topic, "event": message.word, "payload": message.payload}, &reply)
	switch {
	case err != nil:
		c.answer = []any{"error", err.Error()}
	case reply == nil:
		c.answer = "none"
	default:
		c.answer = []any{reply.Status, reply.Payload}
	}
	return nil
}
