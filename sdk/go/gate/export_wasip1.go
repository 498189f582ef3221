package gate

import (
	"unsafe"

	"bennu.dev/bennu/internal/abi"
)

// output is what the host reads after the export has returned. It stays until the next call.
var output = abi.NewArea(40)

//go:wasmexport bennu:channel/connect@0.1.0#connect
func connect() unsafe.Pointer {
	abi.Begin()
	output.Clear()
	identity, claims, refused, err := Decide()
	switch {
	case err != nil:
		output.PutU8(0, 1)
		output.PutText(4, err.Error())
	case refused != nil:
		output.PutU8(4, 1)
		output.PutU16(8, uint16(refused.Status))
		output.PutText(12, refused.Body)
	default:
		putName(8, identity.SocketID)
		putName(20, identity.User)
		output.PutText(32, claims)
	}
	return abi.End(output)
}

// putName writes a text that may be absent.
func putName(at int, name string) {
	if name != "" {
		output.PutU8(at, 1)
		output.PutText(at+4, name)
	}
}
