//go:build !wasip1

package kit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
)

// Kit is a running `bennu kit`, which serves the routes of this program.
type Kit struct {
	// T is the test.
	T   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts it. It ends with the test.
func Start(t testing.TB) *Kit {
	t.Helper()
	program := os.Getenv("BENNU")
	if program == "" {
		program = "bennu"
	}
	command := exec.Command(program, "kit")
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%s; add the folder of `bennu` to the PATH, or set BENNU to its path", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("bennu kit: %s", err)
		}
	})
	kit := &Kit{t, in, bufio.NewReader(out)}
	kit.Serve()
	return kit
}

// Serve serves the routes as they are now. Members and rooms stay.
func (k *Kit) Serve() { k.Must("routes", abi.Fields{"routes": routes(), "states": "base64"}, nil) }

// line is a line of `bennu kit`: an answer, or a call.
type line struct {
	OK                          json.RawMessage
	Fault                       *Fault
	Error                       string
	Call                        string
	Topic, Event, Source, From  string
	Member                      uint64
	Assigns, Room, State        *[]byte
	Payload                     json.RawMessage
	PayloadBase64               []byte `json:"payload_base64"`
	Ref, Key                    *string
	Cause, Detail, Seat, Change string
	Part                        string
	Version                     uint32
	Value                       []byte
	Number                      uint64
	Missed                      uint32
	PeriodMS                    uint32  `json:"period_ms"`
	DueMS                       *uint64 `json:"due_ms"`
}

// Fault is a fault of a callback.
type Fault struct{ Kind, Detail string }

func (f *Fault) Error() string { return f.Kind + ": " + f.Detail }

func (k *Kit) write(fields abi.Fields) {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	if _, err := k.in.Write(append(text, '\n')); err != nil {
		panic(fmt.Errorf("bennu kit has ended: %w", err))
	}
}

func (k *Kit) read() (read line) {
	text, err := k.out.ReadBytes('\n')
	if err != nil {
		panic(fmt.Errorf("bennu kit has ended: %w", err))
	}
	if err := json.Unmarshal(text, &read); err != nil {
		panic(fmt.Errorf("a line of bennu kit, %s: %w", text, err))
	}
	if read.Error != "" {
		panic("bennu kit: " + read.Error)
	}
	return read
}

// Do does something from outside, and runs the callbacks that follow from it. The error is a fault of a callback that was waited for.
func (k *Kit) Do(what string, fields abi.Fields, into any) error {
	k.T.Helper()
	fields["do"] = what
	k.write(fields)
	for {
		read := k.read()
		switch {
		case read.Call != "":
			k.run(&read)
		case read.Fault != nil:
			return read.Fault
		case into != nil:
			return json.Unmarshal(read.OK, into)
		default:
			return nil
		}
	}
}

// Must does something that can't fail.
func (k *Kit) Must(what string, fields abi.Fields, into any) {
	k.T.Helper()
	if err := k.Do(what, fields, into); err != nil {
		k.T.Fatalf("%s: %s", what, err)
	}
}

func (k *Kit) ask(what string, fields abi.Fields) json.RawMessage {
	fields["ask"] = what
	k.write(fields)
	answer := k.read()
	if answer.Fault != nil {
		panic(answer.Fault)
	}
	return answer.OK
}

// run runs a callback.
func (k *Kit) run(line *line) {
	abi.Ask = k.ask
	abi.Fired.DueMS, abi.Fired.Key = line.DueMS, ""
	call := line.call()
	if line.Call == "handle_topic_info" {
		abi.Fired.Key = call.Key
	}
	result, err := plugin.Run(&call)
	abi.Ask = nil
	if err != nil {
		k.write(abi.Fields{"fail": err.Error()})
		return
	}
	k.write(abi.Fields{"return": returned(line.Call, result)})
}

func (l *line) call() plugin.Call {
	call := plugin.Call{
		Name: l.Call, Topic: l.Topic, Member: l.Member, Assigns: or(l.Assigns), Room: or(l.Room), Event: l.Event,
		Source: l.Source, From: l.From, Ref: or(l.Ref), Cause: l.Cause, Detail: l.Detail, Number: l.Number, Missed: l.Missed,
		PeriodMS: l.PeriodMS, Seat: l.Seat, Change: l.Change, Part: l.Part, Version: l.Version, State: or(l.State), Key: or(l.Key),
		Payload: abi.Payload{Kind: abi.JSON, Data: string(l.Payload)},
	}
	if l.PayloadBase64 != nil {
		call.Payload = abi.Payload{Kind: abi.Binary, Data: string(l.PayloadBase64)}
	}
	if l.Call == "upgrade_entry" {
		call.Key, call.State = abi.Unbase64(call.Key), l.Value
	}
	return call
}

// or is the value that a field has, or the zero value if the line has no such field.
func or[T any](field *T) (value T) {
	if field != nil {
		value = *field
	}
	return value
}

// returned is what a callback has returned, as fields.
func returned(callback string, result plugin.Result) abi.Fields {
	fields := abi.Fields{}
	switch {
	case result.IsRefused:
		return abi.Fields{"refuse": abi.PayloadFields(abi.Fields{}, result.Reply.Payload)}
	case callback == "handle_out":
		fields["decision"] = result.Decision
		if result.Decision == "replace" {
			abi.PayloadFields(fields, result.Instead)
		}
		return fields
	case callback == "upgrade" && result.State != nil:
		fields["state"] = result.State
	case callback == "upgrade_entry" && result.State != nil:
		fields["value"] = result.State
	}
	for name, state := range map[string][]byte{"assigns": result.Assigns, "room": result.Room} {
		if state != nil {
			fields[name] = state
		}
	}
	var answer abi.Fields
	if result.Reply != nil {
		answer = abi.PayloadFields(abi.Fields{"status": result.Reply.Status}, result.Reply.Payload)
	}
	switch {
	case callback == "join":
		abi.PayloadFields(fields, result.Reply.Payload)
	case result.Stop != nil:
		fields["stop"] = abi.Fields{"reason": *result.Stop, "reply": answer}
	case answer != nil:
		fields["reply"] = answer
	}
	return fields
}

// routes are the routes of the plugin, for `bennu kit`.
func routes() []abi.Fields {
	routes := []abi.Fields{}
	for _, route := range plugin.Routes {
		options := abi.Fields{}
		for _, option := range route.Options {
			if list, is := options[option.Name].([]string); is || option.Name == "publishes" || option.Name == "start-topics" {
				options[option.Name] = append(list, option.Value)
			} else {
				options[option.Name] = option.Value
			}
		}
		routes = append(routes, abi.Fields{
			"pattern": route.Pattern, "intercepts": append([]string{}, route.Intercepts...), "options": options,
			"assigns_version": route.AssignsVersion, "room_version": route.RoomVersion,
		})
	}
	return routes
}
