// Package untyped reads and writes JSON values that have no Go type: those of an `any`. It gives what encoding/json gives, and leaves
// everything unusual to it. In WebAssembly, encoding/json needs 4 µs to read a number into an `any` and to write it. So a message of the
// maximum size with only numbers would exceed the host's limit of CPU time.
package untyped

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// depthMax is the maximum depth that is read here.
const depthMax = 100

// small are the values of the whole numbers that most messages have. A number in an `any` is an allocation.
var small = func() (small [256]any) {
	for number := range small {
		small[number] = float64(number)
	}
	return small
}()

// Unmarshal reads the text of a JSON value into a variable, as json.Unmarshal does.
func Unmarshal(text string, into any) error {
	switch into := into.(type) {
	case *any:
		if read(text, into, *into == nil) {
			return nil
		}
	case *map[string]any:
		if read(text, into, *into == nil) {
			return nil
		}
	case *[]any:
		if read(text, into, *into == nil) {
			return nil
		}
	}
	return json.Unmarshal([]byte(text), into)
}

// read reports whether it has read the text into a variable, which must be empty: encoding/json adds to a map.
func read[T any](text string, into *T, isEmpty bool) bool {
	if !isEmpty {
		return false
	}
	value, is := Decode(text)
	if value == nil {
		return is
	}
	if read, isRead := value.(T); is && isRead {
		*into = read
		return true
	}
	return false
}

// Decode reads the text of a JSON value, as json.Unmarshal does into an `any`. It reports false for whatever it leaves to
// encoding/json: text that isn't JSON, a number out of range, and great depth.
func Decode(text string) (any, bool) {
	decoder := decoder{text: text}
	value, is := decoder.value(0)
	decoder.skipSpace()
	return value, is && decoder.at == len(text)
}

type decoder struct {
	text string
	at   int
	// The last keys, by length and first byte. The objects of an array have the same keys.
	keys [64]string
}

// next is the byte at the position, and 0 at the end.
func (d *decoder) next() byte {
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *decoder) skipSpace() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// take skips space, and then this byte. It reports whether the byte was there.
func (d *decoder) take(wanted byte) bool {
	d.skipSpace()
	if d.next() != wanted {
		return false
	}
	d.at++
	return true
}

func (d *decoder) value(depth int) (any, bool) {
	d.skipSpace()
	switch d.next() {
	case '{':
		return d.object(depth + 1)
	case '[':
		return d.array(depth + 1)
	case '"':
		return d.string()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	}
	return d.number()
}

func (d *decoder) word(word string) bool {
	is := strings.HasPrefix(d.text[d.at:], word)
	d.at += len(word)
	return is
}

func (d *decoder) array(depth int) (any, bool) {
	d.at++
	if depth > depthMax || d.take(']') {
		return []any{}, depth <= depthMax
	}
	items := make([]any, 0, d.count())
	for {
		item, is := d.value(depth)
		if !is {
			return nil, false
		}
		items = append(items, item)
		if !d.take(',') {
			return items, d.take(']')
		}
	}
}

// count is the number of items of an array of numbers and words, whose first item is next. It is 1 of other arrays. A long slice that
// grows is copied again and again, and makes the garbage collector run.
func (d *decoder) count() int {
	count := 1
	for at := d.at; at < len(d.text); at++ {
		switch d.text[at] {
		case ',':
			count++
		case ']':
			return count
		case '"', '[', '{':
			return 1
		}
	}
	return 1
}

func (d *decoder) object(depth int) (any, bool) {
	d.at++
	fields := map[string]any{}
	if depth > depthMax || d.take('}') {
		return fields, depth <= depthMax
	}
	for {
		d.skipSpace()
		key, is := d.key()
		if !is || !d.take(':') {
			return nil, false
		}
		field, is := d.value(depth)
		if !is {
			return nil, false
		}
		fields[key] = field
		if !d.take(',') {
			return fields, d.take('}')
		}
	}
}

// key reads a key. Equal keys share their bytes, in most cases.
func (d *decoder) key() (string, bool) {
	plain, is := d.plain()
	if !is {
		key, is := d.string()
		text, isText := key.(string)
		return text, is && isText
	}
	if plain == "" {
		return "", true
	}
	last := &d.keys[(len(plain)*31+int(plain[0]))%len(d.keys)]
	if *last != plain {
		*last = strings.Clone(plain)
	}
	return *last, true
}

// plain reads a string that has only ASCII without escapes. If the string is another one, it reads nothing.
func (d *decoder) plain() (string, bool) {
	if d.next() != '"' {
		return "", false
	}
	for at := d.at + 1; at < len(d.text); at++ {
		switch c := d.text[at]; {
		case c == '"':
			plain := d.text[d.at+1 : at]
			d.at = at + 1
			return plain, true
		case c == '\\' || c < ' ' || c >= utf8.RuneSelf:
			return "", false
		}
	}
	return "", false
}

// string reads a string. It is cloned, so that it doesn't keep the whole text in memory.
func (d *decoder) string() (any, bool) {
	if plain, is := d.plain(); is {
		return strings.Clone(plain), true
	}
	if d.next() != '"' {
		return nil, false
	}
	var text strings.Builder
	start := d.at + 1
	for at := start; at < len(d.text); {
		switch c := d.text[at]; {
		case c == '"':
			text.WriteString(d.text[start:at])
			d.at = at + 1
			return text.String(), true
		case c == '\\':
			text.WriteString(d.text[start:at])
			char, length := unescape(d.text[at:])
			if length == 0 {
				return nil, false
			}
			text.WriteRune(char)
			at += length
			start = at
		case c < ' ':
			return nil, false
		case c < utf8.RuneSelf:
			at++
		default:
			char, length := utf8.DecodeRuneInString(d.text[at:])
			if char == utf8.RuneError && length == 1 {
				return nil, false
			}
			at += length
		}
	}
	return nil, false
}

// unescape reads an escape. The length is 0 if it is none, or half of a surrogate pair, which encoding/json replaces.
func unescape(text string) (char rune, length int) {
	if len(text) < 2 {
		return 0, 0
	}
	const escapes, chars = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if at := strings.IndexByte(escapes, text[1]); at >= 0 {
		return rune(chars[at]), 2
	}
	first, is := hex(text)
	if !is {
		return 0, 0
	}
	if first < 0xD800 || first > 0xDFFF {
		return first, 6
	}
	second, is := hex(text[6:])
	if !is || first > 0xDBFF || second < 0xDC00 || second > 0xDFFF {
		return 0, 0
	}
	return (first-0xD800)<<10 + (second - 0xDC00) + 0x10000, 12
}

// hex reads the four digits of `\uXXXX`.
func hex(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	number, err := strconv.ParseUint(text[2:6], 16, 32)
	return rune(number), err == nil
}

// exactDigits is the maximum number of digits of a whole number that a float64 has exactly.
const exactDigits = 15

func (d *decoder) number() (any, bool) {
	start, isNegative := d.at, d.next() == '-'
	if isNegative {
		d.at++
	}
	digits, whole := d.at, 0
	for ; isDigit(d.next()); d.at++ {
		if d.at-digits < exactDigits {
			whole = whole*10 + int(d.text[d.at]-'0')
		}
	}
	count := d.at - digits
	if count == 0 || (count > 1 && d.text[digits] == '0') {
		return nil, false
	}
	if c := d.next(); c == '.' || c == 'e' || c == 'E' || count > exactDigits || isNegative {
		return d.fraction(start)
	}
	if whole < len(small) {
		return small[whole], true
	}
	return float64(whole), true
}

// fraction reads a number from its start to its end. The position is behind the digits before the point.
func (d *decoder) fraction(start int) (any, bool) {
	if d.next() == '.' {
		d.at++
		if !d.digits() {
			return nil, false
		}
	}
	if c := d.next(); c == 'e' || c == 'E' {
		d.at++
		if c := d.next(); c == '+' || c == '-' {
			d.at++
		}
		if !d.digits() {
			return nil, false
		}
	}
	number, err := strconv.ParseFloat(d.text[start:d.at], 64)
	return number, err == nil
}

// digits skips digits, of which there must be one.
func (d *decoder) digits() bool {
	start := d.at
	for isDigit(d.next()) {
		d.at++
	}
	return d.at > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
