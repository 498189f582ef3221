package gate

import (
	"encoding/json"
	"errors"
	"fmt"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/fault"
	"bennu.dev/bennu/token"
)

// nameBytesMax is the maximum length of a user and of a socket's id, in bytes.
const nameBytesMax = 255

// refuser is an error that refuses a client, such as a failed request by HTTP.
type refuser interface{ Response() any }

// Decide runs the gatekeeper for the request of the running call. It returns the claims as JSON, or the refusal. The error is a fault.
func Decide() (identity Identity, claims string, refused *Forbidden, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = errors.New(fault.Text(problem))
		}
	}()
	if gatekeeper == nil {
		return identity, "", nil, errors.New("the plugin has no gatekeeper: call gate.Serve in init")
	}
	identity, err = gatekeeper(&Request{})
	if err != nil {
		if refused := refusal(err); refused != nil {
			return identity, "", refused, nil
		}
		return identity, "", nil, err
	}
	if max(len(identity.User), len(identity.SocketID)) > nameBytesMax {
		return identity, "", nil, fmt.Errorf("a user and a socket's id have at most %d bytes", nameBytesMax)
	}
	claims, err = claimsText(identity.Claims)
	return identity, claims, nil, err
}

// refusal is the refusal that an error means, or nil.
func refusal(err error) *Forbidden {
	var forbidden *Forbidden
	var problem token.Problem
	var other refuser
	switch {
	case errors.As(err, &forbidden):
		return forbidden
	case errors.As(err, &problem):
		return &Forbidden{Status: 403}
	case errors.As(err, &other):
		fields, _ := other.Response().(map[string]any)
		reason, _ := fields["reason"].(string)
		return &Forbidden{Status: 403, Body: reason}
	}
	return nil
}

func claimsText(claims any) (string, error) {
	if claims == nil {
		return "{}", nil
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("the claims must be a JSON object: %w", err)
	}
	if text[0] != '{' {
		return "", fmt.Errorf("the claims must be a JSON object, and not %s", text)
	}
	return abi.Shared(text), nil
}
