package main

import (
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/host"
)

const size = 5

// Player is a member's own state.
type Player struct{ User string }

// Game is the state that all members of a topic share. Its members see it, too.
type Game struct {
	Target Field          `json:"target"`
	Scores map[string]int `json:"scores"`
}

type Field struct {
	X int `json:"x"`
	Y int `json:"y"`
}

type Socket = bennu.Socket[Game]
type Topic = bennu.Topic[Game]

func init() { bennu.Serve[Player, Game]("game:*") }

// Defaults makes the first game of a topic.
func (g *Game) Defaults() { *g = Game{Target: Field{2, 2}, Scores: map[string]int{}} }

func (p *Player) Join(socket *Socket, params bennu.Payload) (_ any, err error) {
	if p.User, err = bennu.Field[string](params, "user"); err != nil {
		return nil, err
	}
	// A player who loses the connection has ten seconds to come back. Until then the seat and the score stay.
	socket.TakeSeat(p.User, 10*time.Second)
	socket.Tick(1500 * time.Millisecond)
	return nil, nil
}

func (p *Player) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	if event != "hit" {
		return bennu.UnknownEvent(event)
	}
	var hit Field
	if err := payload.Into(&hit); err != nil {
		return nil, err
	}
	game := socket.Room()
	if hit != game.Target {
		return nil, bennu.Refuse("missed")
	}
	game.Scores[p.User]++
	move(&socket.Topic)
	return bennu.M{}, nil
}

func (Player) HandleTick(topic *Topic, _ bennu.Tick) error {
	move(topic)
	return nil
}

func (Player) HandleSeat(topic *Topic, user string, change bennu.SeatChange) error {
	switch game := topic.Room(); change {
	case bennu.SeatTaken:
		game.Scores[user] = 0
	case bennu.SeatGone:
		delete(game.Scores, user)
	}
	topic.PublishState(topic.Room())
	return nil
}

func move(topic *Topic) {
	topic.Room().Target = Field{host.IntN(size), host.IntN(size)}
	topic.PublishState(topic.Room())
}

// A plugin is a library: the host calls the channels, and not main.
func main() {}
