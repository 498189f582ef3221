//go:build !wasip1

package kit

import "bennu.dev/bennu/internal/abi"

// Frame is a message that a client gets: join ref, ref, topic, event, payload.
type Frame [5]any

// Next is what a client gets next: a frame, or the code with which its connection was closed.
type Next struct {
	Frame  Frame
	Closed int
}

// Next takes what a client gets next. It is nil if there is nothing.
func (k *Kit) Next(client uint64) *Next {
	var next *struct {
		Frame        *Frame
		BinaryBase64 []byte `json:"binary_base64"`
		Closed       int
	}
	k.Must("next", abi.Fields{"client": client}, &next)
	switch {
	case next == nil:
		return nil
	case next.Frame != nil:
		return &Next{Frame: *next.Frame}
	case next.Closed != 0:
		return &Next{Closed: next.Closed}
	}
	return &Next{Frame: binaryFrame(next.BinaryBase64)}
}

// binaryFrame reads a frame with bytes: a kind, the lengths of the texts, the texts, the bytes.
func binaryFrame(bytes []byte) Frame {
	names := [][]int{{0, 2, 3}, {0, 1, 2, 3}, {2, 3}}[bytes[0]]
	var frame Frame
	at, status := 1+len(names), ""
	for n, part := range names {
		length := int(bytes[1+n])
		text := string(bytes[at : at+length])
		if at += length; bytes[0] == 1 && part == 3 {
			status = text
		} else {
			frame[part] = text
		}
	}
	if frame[4] = bytes[at:]; bytes[0] == 1 {
		frame[3], frame[4] = "phx_reply", map[string]any{"status": status, "response": bytes[at:]}
	}
	return frame
}
