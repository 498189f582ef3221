package bennu

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
	"bennu.dev/bennu/internal/untyped"
)

// Payload is the content of a message: the text of a JSON value, or bytes. It can be sent on as it is.
type Payload struct{ raw abi.Payload }

// Packed is for the SDK.
func (p Payload) Packed() abi.Payload { return p.raw }

// JSON is the text of the JSON value. It is empty if the payload is bytes.
func (p Payload) JSON() string {
	if p.raw.Kind == abi.Binary {
		return ""
	}
	return p.raw.Data
}

// Bytes are the bytes of a binary payload, and nil of any other one.
func (p Payload) Bytes() []byte {
	if p.raw.Kind != abi.Binary {
		return nil
	}
	return []byte(p.raw.Data)
}

// MarshalJSON makes a payload a part of another JSON value. Bytes can't be one.
func (p Payload) MarshalJSON() ([]byte, error) {
	if p.raw.Kind == abi.Binary {
		return nil, errors.New("a payload of bytes can't be a part of a JSON value")
	}
	return []byte(p.raw.Data), nil
}

// Into reads the JSON value into a variable, as json.Unmarshal does. The error refuses the client's message.
func (p Payload) Into(value any) error {
	if p.raw.Kind == abi.Binary {
		return Refuse("expected JSON, and not bytes")
	}
	return refusalOf("payload", untyped.Unmarshal(p.raw.Data, value))
}

// Field reads one field of a payload, an object. If the field is missing or of another type, the error refuses the client's message.
func Field[T any](payload Payload, name string) (value T, err error) {
	var fields map[string]json.RawMessage
	if err := payload.Into(&fields); err != nil {
		return value, err
	}
	text, is := fields[name]
	if !is {
		return value, Refuse("%s: missing, expected %s", name, kindOf(reflect.TypeFor[T]()))
	}
	return value, refusalOf(name, json.Unmarshal(text, &value))
}

// refusalOf makes a refusal of an error of package json.
func refusalOf(name string, err error) error {
	if err == nil {
		return nil
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		if wrong.Field != "" {
			name = strings.TrimPrefix(name+"."+wrong.Field, "payload.")
		}
		return Refuse("%s: expected %s, and not %s", name, kindOf(wrong.Type), wrong.Value)
	}
	return Refuse("%s: %s", name, err)
}

// kindOf names a type as JSON has it.
func kindOf(of reflect.Type) string {
	switch of.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Pointer:
		return kindOf(of.Elem())
	case reflect.Interface:
		return "a value"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// The checks of an effect, before the host is asked for it. What the host would refuse is a panic here, so that the fault has the place
// in the source.

// pack makes a payload of a value.
func pack(value any) (uint32, string) {
	payload, err := plugin.Pack(value)
	if err != nil {
		panic(err.Error())
	}
	return payload.Kind, payload.Data
}

// packObject makes the payload of an event to clients: a JSON object, or bytes. nil is an object without fields.
func packObject(event string, value any) (uint32, string) {
	plugin.CheckName("an event", event)
	if value == nil {
		return abi.JSON, "{}"
	}
	kind, data := pack(value)
	if kind == abi.JSON {
		checkObject("the payload of `"+event+"`", data)
	}
	return kind, data
}

// objectText is the text of a JSON object.
func objectText(what string, value any) string {
	if value == nil {
		return "{}"
	}
	_, data := pack(value)
	checkObject(what, data)
	return data
}

func checkObject(what, text string) {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		panic(what + " must be an object, and not " + shortened(text))
	}
}

// shortened is the beginning of a text.
func shortened(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
