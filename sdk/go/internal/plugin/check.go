package plugin

import "fmt"

// nameBytesMax is the maximum length of an event, a topic, a key of a presence, and other names.
const nameBytesMax = 255

// CheckName panics if a name, which is an argument of an effect, is too long. The fault then has the place in the source.
func CheckName(what, name string) string {
	if len(name) > nameBytesMax {
		panic(fmt.Sprintf("%s has at most %d bytes", what, nameBytesMax))
	}
	return name
}
