package abi

// The effects. The contract in `wit/` describes them. A payload is two parameters: its kind, and its data.

//go:wasmimport bennu:channel/socket@0.1.0 push
func Push(event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 broadcast
func Broadcast(event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 broadcast-from
func BroadcastFrom(event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 publish
func Publish(topic, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 send
func Send(topic, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 send-member
func SendMember(topic string, member uint64, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 push-to-socket
func PushToSocket(topic, socketID, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 subscribe
func Subscribe(topic string)

//go:wasmimport bennu:channel/socket@0.1.0 unsubscribe
func Unsubscribe(topic string)

//go:wasmimport bennu:channel/socket@0.1.0 disconnect
func Disconnect(socketID string)

//go:wasmimport bennu:channel/socket@0.1.0 reply
func Reply(ref, status string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 answer
func AnswerTo(ref, status string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 send-self
func SendSelf(event string, kind uint32, payload string)

//go:wasmimport bennu:channel/socket@0.1.0 discard
func Discard()

//go:wasmimport bennu:channel/socket@0.1.0 send-after
func SendAfter(milliseconds uint64, event string, kind uint32, payload string) uint64

//go:wasmimport bennu:channel/socket@0.1.0 cancel
func Cancel(timer uint64)

//go:wasmimport bennu:channel/socket@0.1.0 publish-state
func PublishState(state string)

//go:wasmimport bennu:channel/socket@0.1.0 take-seat
func TakeSeat(name string, graceMS uint32)

//go:wasmimport bennu:channel/socket@0.1.0 leave-seat
func LeaveSeat()

//go:wasmimport bennu:channel/socket@0.1.0 tick
func Tick(milliseconds uint32)

//go:wasmimport bennu:channel/droppable@0.1.0 broadcast-droppable
func BroadcastDroppable(key, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/droppable@0.1.0 broadcast-from-droppable
func BroadcastFromDroppable(key, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/droppable@0.1.0 publish-droppable
func PublishDroppable(topic, key, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/presence@0.1.0 track
func Track(key, meta string)

//go:wasmimport bennu:channel/presence@0.1.0 update
func UpdatePresence(key, meta string)

//go:wasmimport bennu:channel/presence@0.1.0 untrack
func Untrack(key string)

//go:wasmimport bennu:channel/presence@0.1.0 push-state
func PushPresences()

//go:wasmimport bennu:channel/store@0.1.0 put
func StorePut(key, value string)

//go:wasmimport bennu:channel/store@0.1.0 put-expiring
func StorePutExpiring(key, value string, milliseconds uint64)

//go:wasmimport bennu:channel/store@0.1.0 delete
func StoreDelete(key string)

//go:wasmimport bennu:channel/entries@0.1.0 put
func EntryPut(key, value string)

//go:wasmimport bennu:channel/entries@0.1.0 delete
func EntryDelete(key string)

//go:wasmimport bennu:channel/entries@0.1.0 follow
func Follow(prefix string)

//go:wasmimport bennu:channel/entries@0.1.0 unfollow
func Unfollow(prefix string)

//go:wasmimport bennu:channel/schedule@0.1.0 schedule
func Schedule(topic string, atMS uint64, key, event string, kind uint32, payload string)

//go:wasmimport bennu:channel/schedule@0.1.0 cancel-schedule
func CancelSchedule(topic, key string)
