package bennu

import "fmt"

// M is a JSON object.
type M = map[string]any

// Refusal is the mistake of a client, as an error of a callback: the client gets an `error` reply with this response, and nothing else
// of the callback happens.
type Refusal struct{ response any }

// Refuse is a refusal with the response `{"reason": …}`.
func Refuse(format string, args ...any) error {
	return &Refusal{M{"reason": fmt.Sprintf(format, args...)}}
}

// RefuseWith is a refusal with any response.
func RefuseWith(response any) error { return &Refusal{response} }

// UnknownEvent refuses an event that a callback doesn't know.
func UnknownEvent(event string) (any, error) { return nil, Refuse("unknown event %q", event) }

// Response is what the client gets.
func (r *Refusal) Response() any { return r.response }

func (r *Refusal) Error() string {
	if fields, ok := r.response.(M); ok && len(fields) == 1 && fields["reason"] != nil {
		return fmt.Sprint(fields["reason"])
	}
	return fmt.Sprintf("refused: %v", r.response)
}

// Reply is a reply with a status of its own. Unlike after a Refusal, the callback's effects and changes happen.
type Reply struct {
	Status   string
	Response any
}
