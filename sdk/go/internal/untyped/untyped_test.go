package untyped

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// seeds are values of all kinds, and texts that are almost JSON.
var seeds = []string{
	`null`, `true`, `false`, `0`, `-0`, `7`, `255`, `256`, `-1`, `0.5`, `1e3`, `1E-7`, `1e400`, `123456789012345`, `1234567890123456789`, `0.000001`, `1e21`,
	`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"é😀"`, `"\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`, `"<a href='x'>&"`, "\"\u2028\u2029\x7f\"",
	`[]`, `[ ]`, `[1, "two", [3], {"four": 4}]`, `{}`, `{ }`, `{"a":1,"b":{"a":2},"a":3}`, ` { "b" : [ null ] , "a" : -1.5e-3 } `, `{"":{"é\n":0}}`,
	``, ` `, `[`, `[1`, `[1,`, `[1,]`, `{"a"`, `{"a":`, `{"a":1,}`, `{a:1}`, `01`, `-`, `-01`, `1.`, `.5`, `1e`, `1e+`, `+1`, `nul`, `truex`, `"a`, `"\x"`, `"\u12"`, `"\u12g4"`,
	`[1 2]`, `1 2`, "\"\x01\"", "\"\xff\"", "[\"\xc3\"]", strings.Repeat("[", 150) + strings.Repeat("]", 150),
}

// check compares with encoding/json.
func check(t *testing.T, text string) {
	var want any
	err := json.Unmarshal([]byte(text), &want)
	got, is := Decode(text)
	if is && (err != nil || !reflect.DeepEqual(got, want)) {
		t.Fatalf("%q: %#v, and not %#v (%v)", text, got, want, err)
	}
	if err != nil {
		return
	}
	wantText, _ := json.Marshal(want)
	if gotText, err := Encode(want); err != nil || string(gotText) != string(wantText) {
		t.Fatalf("%q: %s, and not %s (%v)", text, gotText, wantText, err)
	}
}

func TestItIsAsEncodingJSON(t *testing.T) {
	for _, text := range seeds {
		check(t, text)
	}
	for _, usual := range seeds[:10] {
		if _, is := Decode(usual); !is {
			t.Errorf("%s is left to encoding/json", usual)
		}
	}
}

func FuzzAsEncodingJSON(f *testing.F) {
	for _, text := range seeds {
		f.Add(text)
	}
	f.Fuzz(check)
}

func TestOtherTypesAreWrittenByEncodingJSON(t *testing.T) {
	type point struct {
		X int `json:"x"`
	}
	loop := []any{nil}
	loop[0] = loop
	for _, value := range []any{
		map[string]any{"z": 1, "a": point{2}, "m": map[string]int{"b": 1, "a": 2}, "r": json.RawMessage(`[ 1 ]`), "n": []any(nil), "o": map[string]any(nil)},
		[]any{math.NaN()}, map[string]any{"f": func() {}}, []any{math.Inf(1), 1}, loop, point{1}, 3,
	} {
		want, wantErr := json.Marshal(value)
		got, err := Encode(value)
		if (err == nil) != (wantErr == nil) || (err == nil && string(got) != string(want)) {
			t.Errorf("%v (%v), and not %s (%v)", got, err, want, wantErr)
		}
	}
}

func TestAStringDoesNotKeepTheWholeText(t *testing.T) {
	text := `["` + strings.Repeat("x", 100) + `"]`
	value, _ := Decode(text)
	part := value.([]any)[0].(string)
	if within(text, part) {
		t.Error("it is a part of the text")
	}
}

// within reports whether a string has its bytes in another one.
func within(text, part string) bool {
	first, start := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(text)))
	return start <= first && first < start+uintptr(len(text))
}

func TestAVariableIsReadAsByEncodingJSON(t *testing.T) {
	for _, text := range seeds {
		for _, variables := range [][2]any{
			{new(any), new(any)},
			{new(map[string]any), new(map[string]any)},
			{new([]any), new([]any)},
			{&map[string]any{"kept": 1}, &map[string]any{"kept": 1}},
			{&[]any{1, 2}, &[]any{1, 2}},
			{new(string), new(string)},
		} {
			err, want := Unmarshal(text, variables[0]), json.Unmarshal([]byte(text), variables[1])
			if (err == nil) != (want == nil) || (err == nil && !reflect.DeepEqual(variables[0], variables[1])) {
				t.Errorf("%q into %T: %v (%v), and not %v (%v)", text, variables[0], variables[0], err, variables[1], want)
			}
		}
	}
}
