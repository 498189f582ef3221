// Package gate is for gatekeepers: plugins that decide about connections. A gatekeeper is a package `main` of its own, and has no
// channels. It can only read the store.
//
//	func init() {
//		gate.Serve(func(request *gate.Request) (gate.Identity, error) {
//			user, err := token.Verify[string]("user socket", request.Param("token"))
//			return gate.Identity{User: user, SocketID: "user_socket:" + user}, err
//		})
//	}
package gate

import (
	"encoding/json"
	"fmt"
	"strings"

	"bennu.dev/bennu/internal/abi"
)

// Identity is who a socket is. It doesn't change while the socket is connected.
type Identity struct {
	// User is the user's name, which channels can read, of at most 255 bytes.
	User string
	// SocketID is the id by which the socket can be disconnected, such as `user_socket:42`, of at most 255 bytes. Several sockets may
	// have the same one.
	SocketID string
	// Claims are more data for channels: a JSON object of at most 16 KiB.
	Claims any
}

// Request is the request of a client that wants to connect.
type Request struct{}

// Params reads the parameters of the request, as json.Unmarshal does. Parameters such as `a[b]=c` are nested.
func (*Request) Params(into any) error { return json.Unmarshal([]byte(abi.RequestParams()), into) }

// Param is a parameter that is a string. It is empty if there is none.
func (r *Request) Param(name string) string {
	var params map[string]any
	if err := r.Params(&params); err != nil {
		panic(err)
	}
	text, _ := params[name].(string)
	return text
}

// AuthToken is the token that phoenix.js sends as `authToken`, if the mount accepts one. It is empty if there is none.
func (*Request) AuthToken() string {
	token, _ := abi.RequestAuthToken()
	return token
}

// Headers are all headers in the order sent, with names in lower case.
func (*Request) Headers() [][2]string {
	var headers [][2]string
	for _, header := range abi.RequestHeaders() {
		headers = append(headers, [2]string{header.Name, header.Value})
	}
	return headers
}

// Header is the first header with a name. It is empty if there is none.
func (r *Request) Header(name string) string {
	for _, header := range r.Headers() {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// Address is the address that a request comes from.
type Address struct {
	IP   string
	Port uint16
}

// Peer is the address that the request comes from. Behind a proxy it is the proxy's.
func (*Request) Peer() Address { return Address(abi.RequestPeer()) }

// Location is the address that a client requested. Query isn't decoded.
type Location struct {
	Scheme, Host string
	Port         uint16
	Path, Query  string
}

// Location is the address that the client requested.
func (*Request) Location() Location { return Location(abi.RequestURI()) }

// Mount is the path of the mount, such as `/socket`.
func (*Request) Mount() string { return abi.RequestMount() }

// Transport is `websocket` or `longpoll`.
func (*Request) Transport() string { return abi.RequestTransport() }

// Forbidden is the refusal of a connection, as an error.
type Forbidden struct {
	// Status is an HTTP status from 400 to 599. Over long-poll the client always gets 403.
	Status int
	// Body is the text of the response.
	Body string
}

func (f *Forbidden) Error() string { return fmt.Sprintf("forbidden: %d %s", f.Status, f.Body) }

// Forbid refuses the connection.
func Forbid(status int, body string) error {
	if status < 400 || status > 599 {
		panic(fmt.Sprintf("a status is a number from 400 to 599, and not %d", status))
	}
	return &Forbidden{status, body}
}

// Gatekeeper decides about a request. Forbid refuses it, an invalid token with the status 403, and any other error with 500.
type Gatekeeper func(*Request) (Identity, error)

// gatekeeper is the gatekeeper of the plugin.
var gatekeeper Gatekeeper

// Serve makes a function the gatekeeper. Call it in `init`.
func Serve(is Gatekeeper) {
	if gatekeeper != nil {
		panic("a plugin has one gatekeeper")
	}
	gatekeeper = is
}
