package abi

import (
	"runtime"
	"unsafe"
)

//go:wasmimport bennu:channel/http@0.1.0 get
func httpGet(method, url string, headers unsafe.Pointer, headerCount uint32, settings unsafe.Pointer, settingCount uint32, result unsafe.Pointer)

//go:wasmimport bennu:channel/http@0.1.0 request
func httpRequest(key, method, url string, headers unsafe.Pointer, headerCount uint32, body string, settings unsafe.Pointer, settingCount uint32)

//go:wasmimport bennu:channel/http@0.1.0 deliver
func httpDeliver(url string, headers unsafe.Pointer, headerCount uint32, body string, settings unsafe.Pointer, settingCount uint32, result unsafe.Pointer)

func HTTPGet(method, url string, headers, settings []Pair) (answer Answer) {
	heads, headCount := pairs(headers)
	sets, setCount := pairs(settings)
	view := ask(func(result unsafe.Pointer) {
		httpGet(method, url, heads.Pointer(), headCount, sets.Pointer(), setCount, result)
	})
	if view.U8(0) == 0 {
		answer = Answer{Status: int(view.U16(4)), Headers: view.Pairs(8), Body: view.Text(16)}
	} else {
		answer = Answer{HasNoResponse: true, Kind: view.Text(4), Detail: view.Text(12)}
	}
	release()
	runtime.KeepAlive(heads)
	runtime.KeepAlive(sets)
	return answer
}

func HTTPRequest(key, method, url string, headers []Pair, body string, settings []Pair) {
	heads, headCount := pairs(headers)
	sets, setCount := pairs(settings)
	httpRequest(key, method, url, heads.Pointer(), headCount, body, sets.Pointer(), setCount)
	runtime.KeepAlive(heads)
	runtime.KeepAlive(sets)
}

func HTTPDeliver(url string, headers []Pair, body string, settings []Pair) string {
	heads, headCount := pairs(headers)
	sets, setCount := pairs(settings)
	id := text(func(result unsafe.Pointer) {
		httpDeliver(url, heads.Pointer(), headCount, body, sets.Pointer(), setCount, result)
	})
	runtime.KeepAlive(heads)
	runtime.KeepAlive(sets)
	return id
}
