//go:build !wasip1

package bennutest

import (
	"encoding/json"
	"testing"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/kit"
	"bennu.dev/bennu/internal/plugin"
)

// Stage is a host without sockets, which serves the channels of this program. Its clock only moves with Advance.
type Stage struct{ kit *kit.Kit }

// Host is what a host gives to the plugin.
type Host struct {
	// Config is the plugin's configuration, a JSON object.
	Config any
	// Publish and Read are topics that it may publish to, and read about, besides its own.
	Publish, Read []string
	// Now is the time at the start, if it isn't zero.
	Now time.Time
}

// Identity is who connects.
type Identity struct {
	User     string      `json:"user,omitempty"`
	SocketID string      `json:"socket_id,omitempty"`
	Claims   any         `json:"claims,omitempty"`
	Params   any         `json:"params,omitempty"`
	XHeaders [][2]string `json:"x_headers,omitempty"`
}

// NotJoined is the reply to a join that didn't succeed.
type NotJoined struct{ Response any }

func (n *NotJoined) Error() string { return "the join ended with an error reply: " + shown(n.Response) }

// New starts a host, which ends with the test.
func New(t testing.TB, host ...Host) *Stage {
	t.Helper()
	stage := &Stage{kit.Start(t)}
	fields := abi.Fields{}
	for _, host := range host {
		if host.Config != nil {
			fields["config"] = host.Config
		}
		fields["publish"], fields["read"] = append([]string{}, host.Publish...), append([]string{}, host.Read...)
		if !host.Now.IsZero() {
			fields["now"] = host.Now.UnixMilli()
		}
	}
	stage.kit.Must("host", fields, nil)
	return stage
}

// Join makes a new client join a topic. The test fails if the client is refused. params is a JSON object; nil is one without fields.
func (s *Stage) Join(topic string, params any, who ...Identity) *Member {
	s.kit.T.Helper()
	member, err := s.TryJoin(topic, params, who...)
	if err != nil {
		s.kit.T.Fatal(err)
	}
	return member
}

// TryJoin makes a new client join a topic. The error is a NotJoined.
func (s *Stage) TryJoin(topic string, params any, who ...Identity) (*Member, error) {
	s.kit.T.Helper()
	fields := abi.Fields{}
	for _, who := range who {
		text, err := json.Marshal(who)
		if err != nil {
			s.kit.T.Fatal(err)
		}
		if err := json.Unmarshal(text, &fields); err != nil {
			s.kit.T.Fatal(err)
		}
	}
	member := &Member{stage: s, topic: topic}
	s.kit.Must("connect", fields, &member.client)
	return member.join(params)
}

// Advance lets time pass: timers and schedules fire, topics tick, grace periods of seats end.
func (s *Stage) Advance(duration time.Duration) {
	s.kit.T.Helper()
	s.kit.Must("advance", abi.Fields{"ms": duration.Milliseconds()}, nil)
}

// Broadcast broadcasts an event to a topic, as another program does.
func (s *Stage) Broadcast(topic, event string, payload any) {
	s.kit.T.Helper()
	s.kit.Must("broadcast", payloadFields(s.kit.T, abi.Fields{"topic": topic, "event": event}, payload), nil)
}

// Answer is an answer to a message.
type Answer struct {
	Status  string
	Payload any
}

// Send sends a message to a topic, as another program does, for its HandleMessage. The answer is nil if there is none.
func (s *Stage) Send(topic, event string, payload any) (answer *Answer) {
	s.kit.T.Helper()
	s.kit.Must("send", payloadFields(s.kit.T, abi.Fields{"topic": topic, "event": event}, payload), &answer)
	return answer
}

// LateAnswers are the answers to Send that came after it.
func (s *Stage) LateAnswers() (answers []Answer) {
	s.kit.Must("late_answers", abi.Fields{}, &answers)
	return answers
}

// Tell tells a topic that a time of a cron line has come, or that a generation began to serve. The source is `cron` or `start`.
func (s *Stage) Tell(topic, source, event string, payload any) {
	s.kit.T.Helper()
	fields := abi.Fields{"topic": topic, "source": source, "event": event}
	s.kit.Must("tell", payloadFields(s.kit.T, fields, payload), nil)
}

// HTTP gives each request with this method and URL an answer with a status and a body. Any other one is `unreachable`.
func (s *Stage) HTTP(method, url string, status int, body string) {
	s.kit.Must("http", abi.Fields{"method": method, "url": url, "status": status, "body": body}, nil)
}

// HTTPFailure gives each request with this method and URL no answer, with a failure of this kind, such as `timeout`.
func (s *Stage) HTTPFailure(method, url, kind string) {
	s.kit.Must("http", abi.Fields{"method": method, "url": url, "failure": kind}, nil)
}

// Delivery is a delivery of the plugin.
type Delivery struct {
	ID, URL string
	Headers [][2]string
	// Body is the body, if it is UTF-8, and BodyBase64 any other one.
	Body       string
	BodyBase64 []byte `json:"body_base64"`
	Order      string
	// State is `waiting`, `accepted`, `refused` or `given-up`.
	State    string
	Failures int
}

// Deliveries are the deliveries that callbacks have asked for. Advance sends them to the servers of HTTP.
func (s *Stage) Deliveries() (deliveries []Delivery) {
	s.kit.Must("deliveries", abi.Fields{}, &deliveries)
	return deliveries
}

// Scheduled is a schedule of the plugin.
type Scheduled struct {
	Topic, Key, Event string
	DueMS             int64 `json:"due_ms"`
	// GivenUp is whether it has failed five times.
	GivenUp bool `json:"given_up"`
}

// Schedules are the schedules of the plugin.
func (s *Stage) Schedules() (schedules []Scheduled) {
	s.kit.Must("schedules", abi.Fields{}, &schedules)
	return schedules
}

// Disconnect closes every socket with this id. It returns their number.
func (s *Stage) Disconnect(socketID string) (closed int) {
	s.kit.Must("disconnect", abi.Fields{"socket_id": socketID}, &closed)
	return closed
}

// Presences are the metas of the presences of a topic, by key.
func (s *Stage) Presences(topic string) map[string][]map[string]any {
	var found map[string]struct{ Metas []map[string]any }
	s.kit.Must("presences", abi.Fields{"topic": topic}, &found)
	presences := map[string][]map[string]any{}
	for key, one := range found {
		presences[key] = one.Metas
	}
	return presences
}

// Fault is a fault of a callback.
type Fault = kit.Fault

// Faults are all faults so far.
func (s *Stage) Faults() (faults []Fault) {
	s.kit.Must("faults", abi.Fields{}, &faults)
	return faults
}

// payloadFields adds a payload: a JSON value or bytes. nil is an object without fields.
func payloadFields(t testing.TB, fields abi.Fields, value any) abi.Fields {
	t.Helper()
	if value == nil {
		return fields
	}
	payload, err := plugin.Pack(value)
	if err != nil {
		t.Fatal(err)
	}
	return abi.PayloadFields(fields, payload)
}
