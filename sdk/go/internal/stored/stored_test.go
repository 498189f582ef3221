package stored

import (
	"slices"
	"testing"

	"bennu.dev/bennu/internal/abi"
)

// keys are the keys of a store whose scans return at most two rows.
func scan(start, end string, backward bool, limit uint32) (rows []abi.Row) {
	keys := []string{"a", "b", "b1", "b2", "bü", "c"}
	if backward {
		slices.Reverse(keys)
	}
	for _, key := range keys {
		if key >= start && (end == "" || key < end) && len(rows) < min(2, int(limit)) {
			rows = append(rows, abi.Row{Key: key})
		}
	}
	return rows
}

func TestARangeIsReadInParts(t *testing.T) {
	for _, test := range []struct {
		r    Range
		want []string
	}{
		{Range{}, []string{"a", "b", "b1", "b2", "bü", "c"}},
		{Range{From: "b1"}, []string{"b1", "b2", "bü", "c"}},
		{Range{To: "b1"}, []string{"a", "b"}},
		{Range{Prefix: "b"}, []string{"b", "b1", "b2", "bü"}},
		{Range{Prefix: "b", From: "a"}, []string{"b", "b1", "b2", "bü"}},
		{Range{Prefix: "b", From: "b1"}, []string{"b1", "b2", "bü"}},
		{Range{Prefix: "b", To: "b2"}, []string{"b", "b1"}},
		{Range{Prefix: "b", To: "z"}, []string{"b", "b1", "b2", "bü"}},
		{Range{From: "c", To: "b"}, nil},
		{Range{Reverse: true}, []string{"c", "bü", "b2", "b1", "b", "a"}},
		{Range{Prefix: "b", Reverse: true, Limit: 3}, []string{"bü", "b2", "b1"}},
		{Range{Limit: 1}, []string{"a"}},
	} {
		var found []string
		for key := range All(scan, test.r) {
			found = append(found, key)
		}
		if !slices.Equal(found, test.want) {
			t.Errorf("%+v: %v, and not %v", test.r, found, test.want)
		}
	}
	for key := range All(scan, Range{}) {
		if key == "b1" {
			break
		}
	}
}

func TestThePrefixOfTheLastKeysHasNoEnd(t *testing.T) {
	if start, end := (Range{Prefix: "\xff"}).Bounds(); start != "\xff" || end != "" {
		t.Fatal(start, end)
	}
}
