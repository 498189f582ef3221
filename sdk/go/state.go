package bennu

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// state is a value that the host keeps. It is decoded when a callback first uses it.
type state[T any] struct {
	bytes     []byte
	decoded   *T
	isCleared bool
	// isPlain is whether a copy of the value shares nothing with it. Then `original` is the value as it was.
	isPlain  bool
	original T
}

// defaulter is a type whose fields have other first values than zero.
type defaulter interface{ Defaults() }

func first[T any]() *T {
	value := new(T)
	if is, ok := any(value).(defaulter); ok {
		is.Defaults()
	}
	return value
}

func (s *state[T]) value() *T {
	if s.decoded == nil {
		value := first[T]()
		if len(s.bytes) > 0 {
			if err := json.Unmarshal(s.bytes, value); err != nil {
				panic(fmt.Sprintf("the state that the host keeps is no %T: %s", *value, err))
			}
		}
		s.decoded, s.original = value, *value
	}
	return s.decoded
}

func (s *state[T]) clear() {
	s.decoded, s.isCleared = first[T](), true
}

// changed is the encoded value if it has changed, and nil otherwise. An empty one deletes the state.
func (s *state[T]) changed() ([]byte, error) {
	if s.decoded == nil {
		return nil, nil
	}
	// Most callbacks change nothing, and encoding costs more than comparing.
	if s.isPlain && !s.isCleared && any(*s.decoded) == any(s.original) {
		return nil, nil
	}
	after, err := json.Marshal(s.decoded)
	if err != nil {
		return nil, fmt.Errorf("a state must be a JSON value: %w", err)
	}
	before := s.bytes
	if len(before) == 0 || s.isCleared {
		before, err = json.Marshal(first[T]())
		if err != nil {
			return nil, err
		}
	}
	switch isSame := string(after) == string(before); {
	case isSame && s.isCleared:
		return []byte{}, nil
	case isSame:
		return nil, nil
	}
	return after, nil
}

// isPlain is whether a copy of a value shares nothing with it, and can be compared with it.
func isPlain(of reflect.Type) bool {
	switch of.Kind() {
	case reflect.Array:
		return isPlain(of.Elem())
	case reflect.Struct:
		for at := range of.NumField() {
			if !isPlain(of.Field(at).Type) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return true
}
