// A page that uses each hook, for react.test.mjs.

import { PushError, SocketProvider, useChannel, useConnected, useEvent, usePresence, useRoom, useRoomField, type Channel } from "bennu-client/react";
import type { Socket } from "phoenix";
import { memo, StrictMode, useEffect, useRef, useState, type FormEvent } from "react";

interface Message {
  id: string;
  user: string;
  body: string;
}

export interface Chat {
  params: { user: string };
  refusal: { reason: string };
  events: { new_msg: Message };
  pushes: { new_msg: { payload: { body: string }; reply: { id: string } } };
  presence: { online_at: number };
}

export interface Notes {
  params: { follow: string[] };
  pushes: { put: { payload: Record<string, { text: string }>; reply: {} } };
  state: Record<`note/${string}`, { text: string }>;
}

interface Echo {
  pushes: { count: { reply: { count: number; build: string } } };
}

const IDS = ["a", "b", "c"] as const;
const QUICK = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 };

/** `own` is a socket that the page has made; otherwise the provider makes one. */
export function App({ own }: { own?: Socket | undefined }) {
  return (
    <StrictMode>
      <SocketProvider {...(own ? { socket: own } : { url: "/socket", options: QUICK })}>
        <Page />
      </SocketProvider>
    </StrictMode>
  );
}

function Page() {
  const [room, setRoom] = useState("lobby");
  const [user, setUser] = useState("ada");
  const [shown, setShown] = useState({ chat: true, people: true });
  const toggle = (part: "chat" | "people") => setShown((shown) => ({ ...shown, [part]: !shown[part] }));
  return (
    <main>
      <h1>Bennu with React</h1>
      <p id="connection">{useConnected() ? "connected" : "not connected"}</p>
      <p>
        <label>Room <input id="room" value={room} onChange={(event) => setRoom(event.target.value)} /></label>
        <label>User <input id="user" value={user} onChange={(event) => setUser(event.target.value)} /></label>
        <button onClick={() => toggle("chat")}>Toggle chat</button>
        <button onClick={() => toggle("people")}>Toggle people</button>
      </p>
      <div className="parts">
        {shown.chat && <ChatRoom topic={room && `room:${room}`} user={user} />}
        {shown.people && <People topic={room && `room:${room}`} />}
        <Board />
        <Counter />
      </div>
    </main>
  );
}

function ChatRoom({ topic, user }: { topic: string; user: string }) {
  const chat = useChannel<Chat>(topic || null, { user });
  const [messages, setMessages] = useState<Message[]>([]);
  const [trouble, setTrouble] = useState("");
  useEvent(chat, "new_msg", (message) => setMessages((all) => [...all, message]));
  const say = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const body = String(new FormData(event.currentTarget).get("body"));
    try {
      await chat.push("new_msg", { body });
      setTrouble("");
    } catch (error) {
      setTrouble(error instanceof PushError ? `${error.status}: ${error.response?.reason}` : String(error));
    }
  };
  return (
    <section id="chat" data-status={chat.status}>
      <h2>{topic}</h2>
      <p id="status">{chat.status}</p>
      {chat.error && <p id="reason">{chat.error.reason}</p>}
      <form onSubmit={say}><input name="body" aria-label="Message" /><button>Send</button></form>
      <p id="trouble">{trouble}</p>
      <button onClick={chat.rejoin}>Join again</button>
      <ol id="messages">{messages.map(({ id, user, body }) => <li key={id}>{`${user}: ${body}`}</li>)}</ol>
    </section>
  );
}

/** Uses the same topic as the chat, and takes its channel as it is. */
function People({ topic }: { topic: string }) {
  const chat = useChannel<Chat>(topic || null);
  const [heard, setHeard] = useState(0);
  useEvent(chat, "new_msg", () => setHeard((heard) => heard + 1));
  return (
    <section id="people" data-status={chat.status}>
      <h2>People</h2>
      <p id="heard">{heard}</p>
      <ul>{usePresence(chat).map(({ key, metas }) => <li key={key}>{`${key} ${metas.length}`}</li>)}</ul>
    </section>
  );
}

function Board() {
  const board = useChannel<Notes>("notes:1", () => ({ follow: ["note/"] }));
  const [writes, setWrites] = useState(0);
  const write = (id: string) => {
    setWrites(writes + 1);
    void board.push("put", { [id]: { text: `${id}${writes}` } });
  };
  return (
    <section id="board" data-status={board.status}>
      <h2>Notes</h2>
      {IDS.map((id) => <button key={id} onClick={() => write(id)}>{`Write ${id}`}</button>)}
      <ul>
        {IDS.map((id) => <Note key={id} board={board} id={id} />)}
        <Total board={board} />
        <Field board={board} />
      </ul>
    </section>
  );
}

/** Renders again only if its own part has changed, and not with its parent. */
const Note = memo(function Note({ board, id }: { board: Channel<Notes>; id: string }) {
  const note = useRoom(board, (state) => state[`note/${id}`]);
  return <li id={`note-${id}`}>{`${note?.text ?? "none"}, rendered `}<Renders /></li>;
}, isSameBoard);

function isSameBoard(before: { board: Channel<Notes> }, after: { board: Channel<Notes> }) {
  return before.board.on === after.board.on;
}

/** A selector that makes a new object each time, with its own comparison. */
const Total = memo(function Total({ board }: { board: Channel<Notes> }) {
  const total = useRoom(board, (state) => ({ notes: Object.keys(state).length }), (before, after) => before.notes === after.notes);
  return <li id="total">{`${total?.notes ?? 0}, rendered `}<Renders /></li>;
}, isSameBoard);

function Field({ board }: { board: Channel<Notes> }) {
  return <li id="field">{useRoomField(board, "note/a")?.text ?? "none"}</li>;
}

/** How often its parent was rendered. */
function Renders() {
  const count = useRef(0);
  const shown = useRef<HTMLElement>(null);
  useEffect(() => {
    count.current += 1;
    shown.current!.textContent = String(count.current);
  });
  return <b ref={shown} />;
}

function Counter() {
  const echo = useChannel<Echo>("echo:1");
  const [shown, setShown] = useState("");
  const count = async () => {
    const { count, build } = await echo.push("count");
    setShown(`${count} by ${build}`);
  };
  return (
    <section id="counter" data-status={echo.status}>
      <h2>Counter</h2>
      <button onClick={count}>Count</button>
      <p id="count">{shown}</p>
    </section>
  );
}
