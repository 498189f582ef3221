package abi

import "unsafe"

// The request that a gatekeeper decides about.

//go:wasmimport bennu:channel/request@0.1.0 mount
func requestMount(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 transport
func requestTransport(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 params
func requestParams(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 headers
func requestHeaders(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 peer
func requestPeer(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 uri
func requestURI(result unsafe.Pointer)

//go:wasmimport bennu:channel/request@0.1.0 auth-token
func requestAuthToken(result unsafe.Pointer)

func RequestMount() string             { return text(requestMount) }
func RequestTransport() string         { return text(requestTransport) }
func RequestParams() string            { return text(requestParams) }
func RequestAuthToken() (string, bool) { return option(requestAuthToken) }

func RequestHeaders() []Pair { return pairList(requestHeaders) }

func RequestPeer() Address {
	view := ask(requestPeer)
	peer := Address{view.Text(0), view.U16(8)}
	release()
	return peer
}

func RequestURI() Location {
	view := ask(requestURI)
	uri := Location{view.Text(0), view.Text(8), view.U16(16), view.Text(20), view.Text(28)}
	release()
	return uri
}
