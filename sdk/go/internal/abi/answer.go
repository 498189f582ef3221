package abi

import "encoding/json"

// ReadAnswer reads the answer of a server from a payload.
func ReadAnswer(payload []byte) Answer {
	var read struct {
		Status          int
		Headers         [][2]string
		Body            string
		BodyBase64      []byte `json:"body_base64"`
		Failure, Detail string
	}
	if err := json.Unmarshal(payload, &read); err != nil {
		panic(err)
	}
	answer := Answer{Status: read.Status, Body: read.Body, Kind: read.Failure, Detail: read.Detail, HasNoResponse: read.Failure != ""}
	if read.BodyBase64 != nil {
		answer.Body = string(read.BodyBase64)
	}
	for _, header := range read.Headers {
		answer.Headers = append(answer.Headers, Pair{header[0], header[1]})
	}
	return answer
}
