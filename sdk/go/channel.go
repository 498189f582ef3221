package bennu

import "time"

// Channel is the callbacks of a kind of topic that every channel has. R is the type of the room, the state that all members of a
// topic share; None means that there is no room.
//
// Each callback is a transaction: its effects and changes happen if it succeeds. If it returns an error that is no Refusal, or
// panics, it is a fault: nothing of it happens, and the member ends with `phx_error`, so that its client joins again.
//
// A channel may have further callbacks: those of the interfaces below. In the callbacks of a Topic there is no member, so their
// receiver is empty; it needs no name, as in `func (Chat) HandleTick(…)`.
//
// A type *C or *R may have a method `Defaults()`. It sets the first values of the fields, also of those that an older build has not
// written.
type Channel[R any] interface {
	// Join makes the state of a new member in the receiver. It returns the response, or nil for `{}`. A Refusal keeps the client out.
	Join(socket *Socket[R], params Payload) (any, error)
	// HandleIn handles an event of the client. It returns the response of an `ok` reply, a Reply with another status, or nil for no
	// reply. A Refusal is an `error` reply, and nothing else of the callback happens.
	HandleIn(socket *Socket[R], event string, payload Payload) (any, error)
}

// InfoHandler is a channel with messages that no client sent: timers, other members and topics, answers.
type InfoHandler[R any] interface {
	HandleInfo(socket *Socket[R], message Message) error
}

// OutHandler is a channel that decides about the events of Options.Intercepts, for each recipient. The receiver is the state of the
// recipient. It only reads: effects and changes are faults.
type OutHandler interface {
	HandleOut(recipient Recipient, event string, payload Payload) (Decision, error)
}

// Terminator is a channel that is told the end of a member. Only pushes, broadcasts and messages to topics are still carried out.
type Terminator[R any] interface {
	Terminate(socket *Socket[R], ending Ending)
}

// MessageHandler is a channel with messages to the topic, from other topics and from other programs. It returns the answer to the
// sender as HandleIn does.
type MessageHandler[R any] interface {
	HandleMessage(topic *Topic[R], event string, payload Payload) (any, error)
}

// TopicInfoHandler is a channel whose topics are told something by the host: schedules, cron lines, answers by HTTP, starts.
type TopicInfoHandler[R any] interface {
	HandleTopicInfo(topic *Topic[R], message TopicMessage) error
}

// Ticker is a channel whose topics tick: see [Topic.Tick].
type Ticker[R any] interface {
	HandleTick(topic *Topic[R], tick Tick) error
}

// SeatHandler is a channel that is told the changes of seats: see [Socket.TakeSeat].
type SeatHandler[R any] interface {
	HandleSeat(topic *Topic[R], seat string, change SeatChange) error
}

// Upgrader is a channel that upgrades the state of a member that another version wrote. It sets the receiver.
type Upgrader interface {
	Upgrade(version uint32, old Payload) error
}

// RoomUpgrader is a channel that upgrades a room that another version wrote.
type RoomUpgrader[R any] interface {
	UpgradeRoom(version uint32, old Payload) (R, error)
}

// EntryUpgrader is a channel that upgrades an entry that another version wrote.
type EntryUpgrader interface {
	UpgradeEntry(key string, version uint32, value []byte) ([]byte, error)
}

// None is the type of a room that doesn't exist.
type None struct{}

// Options are the options of a route. The zero value has the defaults.
type Options struct {
	// Durable stores the room and its entries, so that they survive a restart of the host.
	Durable bool
	// Entries gives the topic a room although R is None, for package entries.
	Entries bool
	// Publishes are the prefixes of the entries that all members get, as `room_state` and `room_diff`. At most 16.
	Publishes []string
	// Intercepts are the events that HandleOut decides about.
	Intercepts []string
	// OneAtATime runs the callbacks of all members of a topic one after another. A room implies it.
	OneAtATime bool
	// KeepOnFault keeps a member after a fault, with the state from before.
	KeepOnFault bool
	// Linger is how long a room remains after its last member has ended: 10 seconds, if it is 0. A negative one is no time.
	Linger time.Duration
	// TickFaults is the number of faults of HandleTick in a row that end the members: 10, if it is 0. A negative one is none.
	TickFaults int
	// HistoryCount is how many of the topic's last broadcasts the host keeps for clients that join again, and HistoryAge how long:
	// 5 minutes, if it is 0.
	HistoryCount int
	HistoryAge   time.Duration
	// StartTopics are the topics whose HandleTopicInfo gets a message each time a generation of the plugin begins to serve.
	StartTopics []string
	// Version, RoomVersion and EntriesVersion are the versions of what this build writes, for the upgrades.
	Version, RoomVersion, EntriesVersion uint32
}

// Message is a message that no client sent.
type Message struct {
	// Source is `self` for this member and its timers, `member` for another callback or the API, `topic` for a subscribed topic,
	// `answer` for the answer to a Send, `http` for an answer by HTTP, and `intercept` for an event that HandleOut handed over. Later
	// hosts may add sources.
	Source string
	// Topic is the topic of the message: the member's own one, or the other one.
	Topic   string
	Event   string
	Payload Payload
}

// TopicMessage is what the host tells a topic.
type TopicMessage struct {
	// Source is `schedule`, `cron`, `start`, or `http` for the answer to a request. Later hosts may add sources.
	Source  string
	Event   string
	Payload Payload
	// Due is when a schedule or a cron line was due, and Key the key of a schedule.
	Due time.Time
	Key string
}

// Tick is one tick of a topic.
type Tick struct {
	// Number is the number of the tick since the period was set, with skipped ticks.
	Number uint64
	// Missed is the number of ticks that were skipped since the last one. Move a world by [Tick.Elapsed].
	Missed int
	Period time.Duration
}

// Elapsed is the time since the last handled tick.
func (t Tick) Elapsed() time.Duration { return time.Duration(t.Missed+1) * t.Period }

// SeatChange is what has happened to a seat.
type SeatChange string

// The changes of a seat.
const (
	// SeatTaken: a member took the seat, which was free.
	SeatTaken SeatChange = "taken"
	// SeatDropped: the last member on the seat ended without leaving. The host keeps the seat for its grace period.
	SeatDropped SeatChange = "dropped"
	// SeatReturned: a member took the seat during its grace period.
	SeatReturned SeatChange = "returned"
	// SeatGone: the seat was given up, or its grace period has ended.
	SeatGone SeatChange = "gone"
)

// Ending says why a member has ended.
type Ending struct {
	// Cause is `left`, `closed`, `stopped`, `kicked`, `fault`, `replaced`, `shutdown` or `taken-back`.
	Cause string
	// Detail is the reason of a stop or of a kick, or the kind of a fault.
	Detail string
}

// Recipient is a member that is about to get an event.
type Recipient struct {
	ID    uint64
	Topic string
}

// Decision is what happens to an event for one recipient.
type Decision struct {
	what    string
	payload any
}

// The decisions without a payload.
var (
	// Pass: the recipient gets the event unchanged.
	Pass = Decision{what: "pass"}
	// Drop: the recipient doesn't get the event.
	Drop = Decision{what: "drop"}
	// HandOver: the recipient's own HandleInfo gets the event.
	HandOver = Decision{what: "hand_over"}
)

// Replace is the decision that the recipient gets this payload instead.
func Replace(payload any) Decision { return Decision{"replace", payload} }
