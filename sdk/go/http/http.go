// Package http asks servers by HTTP. A plugin may ask for the URLs that `plugins.NAME.http` grants.
package http

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
)

// Header has the headers of a message by their names. In a response, the names are in lower case, and of several headers with one name
// the last one counts.
type Header map[string]string

// Response is the answer of a server, with any status.
type Response struct {
	Status int
	Header Header
	Body   []byte
}

// OK is whether the status is from 200 to 299.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Into reads the body as JSON, as json.Unmarshal does.
func (r *Response) Into(value any) error { return json.Unmarshal(r.Body, value) }

// Failure is the reason why there is no answer. A callback that returns it refuses its client with `{"reason": "unavailable"}`.
type Failure struct {
	// Kind is `busy`, `timeout`, `too-large`, `unreachable`, `broken` or `redirect`. Later hosts may add kinds.
	Kind   string
	Detail string
}

func (f *Failure) Error() string { return f.Kind + ": " + f.Detail }

// Response is what the client gets.
func (f *Failure) Response() any { return map[string]any{"reason": "unavailable"} }

// Request is a request by HTTP.
type Request struct {
	// Method is `GET` for Get and `POST` for Send, if it is empty.
	Method string
	URL    string
	Header Header
	// Body is the body. JSON is a value for it instead, with the header `content-type`.
	Body []byte
	JSON any
	// Timeout is the time to the end of the answer, if it isn't 0. The host's limit still counts.
	Timeout time.Duration
}

// Get waits for the answer to a request without a body: a `GET` or `HEAD`. The error is a Failure.
func Get(request Request) (*Response, error) {
	method := request.Method
	if method == "" {
		method = "GET"
	}
	headers, _ := message(request.Header, nil, nil)
	return response(abi.HTTPGet(method, request.URL, headers, timeout(request.Timeout)))
}

// Send sends a request after the callback has succeeded, at most once. This member's HandleInfo gets the answer as the event `key`, with
// the source `http`; see Answer. In a callback of a topic, such as HandleMessage, HandleTopicInfo gets it.
func Send(key string, request Request) {
	method := request.Method
	if method == "" {
		method = "POST"
	}
	headers, body := message(request.Header, request.Body, request.JSON)
	abi.HTTPRequest(plugin.CheckName("a key", key), method, request.URL, headers, body, timeout(request.Timeout))
}

// Answer reads the answer to Send from the payload of its message. The error is a Failure.
func Answer(payload interface{ JSON() string }) (*Response, error) {
	return response(abi.ReadAnswer([]byte(payload.JSON())))
}

// Delivery is a `POST` that is sent until the server accepts it.
type Delivery struct {
	URL    string
	Header Header
	// Body is the body. JSON is a value for it instead, with the header `content-type`.
	Body []byte
	JSON any
	// Order is a key: deliveries with the same one are sent one after the other.
	Order string
	// Expires is the time after which it is given up: a day, if it is 0.
	Expires time.Duration
	// OnFailure is an event: if the delivery is refused or given up, the topic's HandleTopicInfo gets it. Its payload has the fields
	// `delivery`, the id; `url`; `status`, which is null if there was no answer; and `reason`.
	OnFailure string
	// PushP256DH and PushAuth are the keys of a browser's subscription, whose endpoint is the URL. Then the host encrypts the body.
	PushP256DH, PushAuth string
}

// Deliver stores a delivery with the other writes of the callback, and sends it after the callback has succeeded, until the server
// accepts it. It may be received more than once. It returns the id of the delivery.
func Deliver(delivery Delivery) string {
	headers, body := message(delivery.Header, delivery.Body, delivery.JSON)
	var settings []abi.Pair
	set := func(name, value string) {
		if value != "" {
			settings = append(settings, abi.Pair{Name: name, Value: value})
		}
	}
	set("order", plugin.CheckName("an order key", delivery.Order))
	if delivery.Expires != 0 {
		set("expires-ms", milliseconds(delivery.Expires))
	}
	set("on-failure", plugin.CheckName("an event", delivery.OnFailure))
	set("push-p256dh", delivery.PushP256DH)
	set("push-auth", delivery.PushAuth)
	return abi.HTTPDeliver(delivery.URL, headers, body, settings)
}

// message is the headers and the body of a request.
func message(header Header, body []byte, value any) ([]abi.Pair, string) {
	var headers []abi.Pair
	for _, name := range slices.Sorted(maps.Keys(header)) {
		headers = append(headers, abi.Pair{Name: name, Value: header[name]})
	}
	if value == nil {
		return headers, string(body)
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("the body of a request can't be JSON: %s", err))
	}
	isType := func(header abi.Pair) bool { return strings.EqualFold(header.Name, "content-type") }
	if !slices.ContainsFunc(headers, isType) {
		headers = append(headers, abi.Pair{Name: "content-type", Value: "application/json"})
	}
	return headers, string(text)
}

func timeout(time time.Duration) []abi.Pair {
	if time == 0 {
		return nil
	}
	return []abi.Pair{{Name: "timeout-ms", Value: milliseconds(time)}}
}

func milliseconds(time time.Duration) string {
	return strconv.FormatInt(max(time.Milliseconds(), 1), 10)
}

func response(answer abi.Answer) (*Response, error) {
	if answer.HasNoResponse {
		return nil, &Failure{answer.Kind, answer.Detail}
	}
	response := &Response{Status: answer.Status, Header: Header{}, Body: []byte(answer.Body)}
	for _, header := range answer.Headers {
		response.Header[header.Name] = header.Value
	}
	return response, nil
}
