// Package schedule is for events that come to a topic's HandleTopicInfo later. They are stored, and survive a restart of the host.
package schedule

import (
	"fmt"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
)

// At schedules an event at a time. It replaces an earlier schedule with the same topic and key.
func At(topic string, at time.Time, key, event string, payload any) {
	ms := at.UnixMilli()
	if ms < 0 {
		panic(fmt.Sprintf("a schedule can't be before 1970: %s", at))
	}
	set(topic, uint64(ms), key, event, payload)
}

// After schedules an event after a time. It replaces an earlier schedule with the same topic and key.
func After(topic string, after time.Duration, key, event string, payload any) {
	if after < 0 {
		panic(fmt.Sprintf("a time can't be negative: %s", after))
	}
	set(topic, abi.Now()+uint64(after.Milliseconds()), key, event, payload)
}

func set(topic string, atMS uint64, key, event string, payload any) {
	packed := abi.Payload{Kind: abi.JSON, Data: "{}"}
	if payload != nil {
		var err error
		if packed, err = plugin.Pack(payload); err != nil {
			panic(err.Error())
		}
	}
	checkNames(topic, key)
	abi.Schedule(topic, atMS, key, plugin.CheckName("an event", event), packed.Kind, packed.Data)
}

// Cancel cancels a schedule. If there is none, nothing happens.
func Cancel(topic, key string) {
	checkNames(topic, key)
	abi.CancelSchedule(topic, key)
}

func checkNames(topic, key string) {
	plugin.CheckName("a topic", topic)
	plugin.CheckName("a key", key)
}

// Due is when a schedule is due, and whether there is one.
func Due(topic, key string) (time.Time, bool) {
	ms, is := abi.ScheduleDue(topic, key)
	return time.UnixMilli(int64(ms)), is
}
