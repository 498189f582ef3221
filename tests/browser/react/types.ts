// What the types of bennu-client allow and refuse. An expected error that doesn't occur is an error of its own.

import { recover, RoomState } from "bennu-client";
import { PushError, useChannel, useEvent, usePresence, useRoom, useRoomField, type Channel } from "bennu-client/react";
import { Socket } from "phoenix";

import type { Chat } from "./app.js";

interface Game {
  response: { seat: number };
  events: { round: { number: number } };
  pushes: { move: { payload: { x: number; y: number }; reply: { taken: boolean } }; pass: { reply: null } };
  state: { turn: string; players: Record<string, { score: number }> };
}

export async function typed(): Promise<void> {
  const chat = useChannel<Chat>("room:lobby", { user: "ada" });
  const game: Channel<Game> = useChannel<Game>("game:1");
  useChannel<Chat>("room:lobby", () => ({ user: "ada" }));
  useChannel<Chat>(null);
  useChannel<Chat>("room:lobby", { user: "ada" }, { onMissed: () => location.reload() });
  // @ts-expect-error: no such option
  useChannel<Chat>("room:lobby", { user: "ada" }, { onMiss: () => {} });
  // @ts-expect-error: a parameter of another type
  useChannel<Chat>("room:lobby", { user: 1 });
  // @ts-expect-error: a parameter is missing
  useChannel<Chat>("room:lobby", {});

  const { taken }: { taken: boolean } = await game.push("move", { x: 1, y: 2 }, 1_000);
  const nothing: null = await game.push("pass");
  // @ts-expect-error: a payload of another type
  void game.push("move", { x: "1", y: 2 });
  // @ts-expect-error: the payload is missing
  void game.push("move");
  // @ts-expect-error: no such event
  void game.push("jump", {});
  // @ts-expect-error: the reply has no such field
  (await game.push("move", { x: 1, y: 2 })).lost;

  useEvent(chat, "new_msg", ({ body }) => body.toUpperCase());
  // @ts-expect-error: the payload has no such field
  useEvent(chat, "new_msg", ({ text }) => text);
  // @ts-expect-error: no such event
  useEvent(chat, "new_message", () => {});
  // @ts-expect-error: a handler for another payload
  game.on("round", (payload: { number: string }) => payload);

  const score: number | null = useRoom(game, (state) => state.players["ada"]?.score ?? 0);
  const state: Readonly<{ turn: string }> | null = useRoom(game);
  const turn: string | undefined = useRoomField(game, "turn");
  // @ts-expect-error: the state has no such field
  useRoom(game, (state) => state.round);
  // @ts-expect-error: the state has no such field
  useRoomField(game, "round");
  // @ts-expect-error: the first state may not have arrived
  useRoom(game).turn;
  const seat: number | undefined = game.response?.seat;
  const online: number[] = usePresence(chat).map(({ metas }) => metas[0]!.online_at);
  // @ts-expect-error: a meta has no such field
  usePresence(chat)[0]!.metas[0]!.offline_at;
  // @ts-expect-error: no such status
  void (chat.status === "open");

  // Without types, everything is `any`.
  const anything = useChannel("any:topic", { a: 1 });
  (await anything.push("event", { b: 2 })).whatever;
  useEvent(anything, "event", (payload) => payload.whatever);
  useRoom(anything, (state) => state.whatever.else);

  const room = new RoomState<Game["state"]>(new Socket("/socket").channel("game:1"), { onChange: (state) => state.turn.length });
  const players = room.get("players")?.["ada"]?.score;
  // @ts-expect-error: the state has no such field
  room.get("round");
  void [taken, nothing, score, state, turn, seat, online, players, PushError];
}
