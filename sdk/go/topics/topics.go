// Package topics reads about topics: those of the plugin, and those that `plugins.NAME.read` grants. Any other topic is a fault.
package topics

import (
	"encoding/json"

	"bennu.dev/bennu/internal/abi"
)

// listedMax is the maximum number of members or topics in a list.
const listedMax = 1000

// Meta is the meta of a presence: a JSON object.
type Meta = map[string]any

// Presences are the metas of a topic's presences, by key.
type Presences map[string][]Meta

type presence struct{ Metas []Meta }

// PresencesOf are the presences of a topic, without the effects of the running callback.
func PresencesOf(topic string) Presences {
	presences := Presences{}
	for key, one := range read[map[string]presence](abi.Presences(topic)) {
		presences[key] = one.Metas
	}
	return presences
}

// Presence is the metas of one key of a topic. It is nil if the key has no presence.
func Presence(topic, key string) []Meta {
	text, is := abi.Presence(topic, key)
	if !is {
		return nil
	}
	return read[presence](text).Metas
}

func read[T any](text string) (value T) {
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	return value
}

// Count is the number of a topic's members. In a cluster, members at other nodes count as they were about a second before. So if a join
// compares the number with a limit, a topic can get more members than that.
func Count(topic string) int { return abi.Count(topic) }

// Member is a member of a topic.
type Member struct {
	// ID is the member's number.
	ID uint64
	// User and SocketID are those of its socket, or empty.
	User, SocketID string
}

// Members are up to 1,000 members of a topic, in no particular order. In a cluster, the call may wait up to 250 ms for other nodes, and
// the members at a node that hasn't answered then are missing.
func Members(topic string) []Member {
	var members []Member
	for _, person := range abi.Members(topic, listedMax) {
		members = append(members, Member{person.Member, person.User, person.SocketID})
	}
	return members
}

// Topic is a topic that has members.
type Topic struct {
	Name    string
	Members int
}

// Under are the topics that begin with a prefix, in the order of their bytes: up to 1,000 of them, after the topic `after` if it isn't
// empty.
func Under(prefix, after string) []Topic {
	var topics []Topic
	for _, topic := range abi.Under(prefix, after, listedMax) {
		topics = append(topics, Topic(topic))
	}
	return topics
}
