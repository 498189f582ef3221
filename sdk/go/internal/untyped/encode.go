package untyped

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode writes a value as json.Marshal does. Values of other types than those that [Decode] makes are written by encoding/json.
func Encode(value any) ([]byte, error) {
	switch value.(type) {
	case map[string]any, []any:
		return encode(nil, value, 0)
	}
	return json.Marshal(value)
}

func encode(text []byte, value any, depth int) ([]byte, error) {
	switch value := value.(type) {
	case nil:
		return append(text, "null"...), nil
	case bool:
		return strconv.AppendBool(text, value), nil
	case string:
		return encodeString(text, value), nil
	case float64:
		if whole := int64(value); float64(whole) == value && whole != 0 && -1e15 < value && value < 1e15 {
			return strconv.AppendInt(text, whole, 10), nil
		}
		if size := math.Abs(value); 1e-6 <= size && size < 1e21 {
			return strconv.AppendFloat(text, value, 'f', -1, 64), nil
		}
	case []any:
		if value != nil && depth < depthMax {
			return encodeArray(text, value, depth+1)
		}
	case map[string]any:
		if value != nil && depth < depthMax {
			return encodeObject(text, value, depth+1)
		}
	}
	// A value that contains itself is an error of encoding/json.
	other, err := json.Marshal(value)
	return append(text, other...), err
}

func encodeArray(text []byte, items []any, depth int) (_ []byte, err error) {
	text = append(text, '[')
	for at, item := range items {
		if at > 0 {
			text = append(text, ',')
		}
		if text, err = encode(text, item, depth); err != nil {
			return nil, err
		}
	}
	return append(text, ']'), nil
}

// encodeObject writes the fields in the order of their keys: what a plugin sends must not depend on the order of a map.
func encodeObject(text []byte, fields map[string]any, depth int) (_ []byte, err error) {
	var few [16]string
	keys := few[:0]
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	text = append(text, '{')
	for at, key := range keys {
		if at > 0 {
			text = append(text, ',')
		}
		text = append(encodeString(text, key), ':')
		if text, err = encode(text, fields[key], depth); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

// encodeString writes a string as json.Marshal does, which also escapes what has a meaning in HTML.
func encodeString(text []byte, value string) []byte {
	text = append(text, '"')
	start := 0
	for at := 0; at < len(value); {
		c := value[at]
		length, escape := 1, ""
		switch {
		case c >= utf8.RuneSelf:
			var char rune
			if char, length = utf8.DecodeRuneInString(value[at:]); char == utf8.RuneError && length == 1 {
				escape = `\ufffd`
			} else if char == '\u2028' {
				escape = `\u2028`
			} else if char == '\u2029' {
				escape = `\u2029`
			}
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&':
			escape = escapes[c]
		}
		if escape != "" {
			text = append(append(text, value[start:at]...), escape...)
			start = at + length
		}
		at += length
	}
	return append(append(text, value[start:]...), '"')
}

// escapes has the escape of each byte of ASCII.
var escapes = func() (escapes [utf8.RuneSelf]string) {
	for c := range escapes {
		const digits = "0123456789abcdef"
		escapes[c] = `\u00` + string(digits[c>>4]) + string(digits[c&15])
	}
	for c, escape := range map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`} {
		escapes[c] = escape
	}
	return escapes
}()
