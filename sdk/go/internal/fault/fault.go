// Package fault writes the texts of faults.
package fault

import (
	"fmt"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
)

// placesMax is the maximum number of places in the text of a panic.
const placesMax = 8

// sdk begins the names of the SDK's own functions, which are no places in the plugin's source.
const sdk = "bennu.dev/bennu"

// callback is the function of the SDK that runs a callback. In a test, that of the test called it.
const callback = sdk + "/internal/plugin.Run"

// Text is the text of a fault: the panic, and the places in the source, the innermost first.
func Text(problem any) string {
	text := fmt.Sprintf("panic: %v", problem)
	if places := places(); len(places) > 0 {
		text += "; in " + strings.Join(places, ", called by ")
	}
	return text
}

// places are the functions of the plugin that were running when it panicked.
func places() (places []string) {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	root := root()
	for len(places) < placesMax {
		frame, more := frames.Next()
		if frame.Function == callback {
			break
		}
		if isOfPlugin(frame.Function) {
			places = append(places, fmt.Sprintf("%s (%s:%d)", frame.Function, strings.TrimPrefix(frame.File, root), frame.Line))
		}
		if !more {
			break
		}
	}
	return places
}

// isOfPlugin is whether a function is neither of the SDK, nor an export of it, nor of Go's runtime.
func isOfPlugin(function string) bool {
	for _, prefix := range []string{sdk + ".", sdk + "/", "bennu:channel/", "runtime."} {
		if strings.HasPrefix(function, prefix) {
			return false
		}
	}
	return function != ""
}

// root begins the paths of the plugin's own files: the path of its module, because `bennu build` removes that of the folder.
func root() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return path.Join(info.Main.Path, ".") + "/"
	}
	return ""
}
