//go:build !wasip1

package abi

// Connecting is the request that a test has a gatekeeper decide about.
var Connecting struct {
	Mount, Transport, Params, AuthToken string
	Headers                             []Pair
	Peer                                Address
	Location                            Location
}

func RequestMount() string             { return Connecting.Mount }
func RequestTransport() string         { return Connecting.Transport }
func RequestParams() string            { return Connecting.Params }
func RequestAuthToken() (string, bool) { return Connecting.AuthToken, Connecting.AuthToken != "" }
func RequestHeaders() []Pair           { return Connecting.Headers }
func RequestPeer() Address             { return Connecting.Peer }
func RequestURI() Location             { return Connecting.Location }
