// The contract's imports, as the engine gives them to scripts: numbers for u64, and none for the absence of an option.

type Packed = { tag: "json"; val: string } | { tag: "binary"; val: Uint8Array };
type Order = string;

declare module "bennu:channel/host@0.1.0" {
  export function now(): number;
  export function uniqueId(): string;
  export function random(): number;
  export function configuration(): string;
  export function log(level: string, message: string): void;
  export function print(to: string, text: Uint8Array): void;
  export function exit(status: number): void;
}

declare module "bennu:channel/member@0.1.0" {
  export function socketId(): string | null;
  export function joinRef(): string;
  export function user(): string | null;
  export function claims(): string;
  export function transport(): string;
  export function connectParams(): string;
  export function xHeaders(): [string, string][];
}

declare module "bennu:channel/topics@0.1.0" {
  export function count(topic: string): number;
  export function members(topic: string, limit: number): { member: number; user: string | null; socketId: string | null }[];
  export function answerRef(): string | null;
  export function under(prefix: string, after: string | undefined, limit: number): { name: string; members: number }[];
}

declare module "bennu:channel/request@0.1.0" {
  export function mount(): string;
  export function transport(): string;
  export function params(): string;
  export function headers(): [string, string][];
  export function peer(): { ip: string; port: number };
  export function uri(): { scheme: string; host: string; port: number; path: string; query: string };
  export function authToken(): string | null;
}

declare module "bennu:channel/token@0.1.0" {
  export function sign(salt: string, value: string, maxAge: number | undefined): string;
  export function verify(salt: string, token: string, maxAge: number | undefined): string;
}

declare module "bennu:channel/presence@0.1.0" {
  export function list(topic: string): string;
  export function get(topic: string, key: string): string | null;
  export function track(key: string, meta: string): void;
  export function update(key: string, meta: string): void;
  export function untrack(key: string): void;
  export function pushState(): void;
}

declare module "bennu:channel/store@0.1.0" {
  export function get(key: Uint8Array): Uint8Array | null;
  export function scan(
    start: Uint8Array | undefined,
    end: Uint8Array | undefined,
    order: Order,
    limit: number,
  ): { key: Uint8Array; value: Uint8Array }[];
  export function put(key: Uint8Array, value: Uint8Array): void;
  export function putExpiring(key: Uint8Array, value: Uint8Array, milliseconds: number): void;
  function remove(key: Uint8Array): void;
  export { remove as delete };
}

declare module "bennu:channel/entries@0.1.0" {
  export function get(key: Uint8Array): Uint8Array | null;
  export function scan(start: Uint8Array | undefined, end: Uint8Array | undefined, order: Order, limit: number): Uint8Array;
  export function getMany(keys: Uint8Array): Uint8Array;
  export function put(key: Uint8Array, value: Uint8Array): void;
  export function putMany(entries: Uint8Array): void;
  export function deleteRange(start: Uint8Array | undefined, end: Uint8Array | undefined, limit: number): number;
  export function follow(prefix: string): void;
  export function unfollow(prefix: string): void;
  function remove(key: Uint8Array): void;
  export { remove as delete };
}

declare module "bennu:channel/http@0.1.0" {
  type Pair = { name: string; value: string };
  export function get(method: string, url: string, headers: Pair[], settings: Pair[]): { status: number; headers: Pair[]; body: Uint8Array };
  export function deliver(url: string, headers: Pair[], body: Uint8Array, settings: Pair[]): string;
  export function request(key: string, method: string, url: string, headers: Pair[], body: Uint8Array, settings: Pair[]): void;
}

declare module "bennu:channel/socket@0.1.0" {
  export function push(event: string, payload: Packed): void;
  export function broadcast(event: string, payload: Packed): void;
  export function broadcastFrom(event: string, payload: Packed): void;
  export function publish(topic: string, event: string, payload: Packed): void;
  export function send(topic: string, event: string, payload: Packed): void;
  export function sendMember(topic: string, member: number, event: string, payload: Packed): void;
  export function pushToSocket(topic: string, socketId: string, event: string, payload: Packed): void;
  export function discard(): void;
  export function subscribe(topic: string): void;
  export function unsubscribe(topic: string): void;
  export function disconnect(socketId: string): void;
  export function reply(ref: string, reply: { status: string; payload: Packed }): void;
  export function answer(ref: string, reply: { status: string; payload: Packed }): void;
  export function sendSelf(event: string, payload: Packed): void;
  export function sendAfter(milliseconds: number, event: string, payload: Packed): number;
  export function publishState(state: string): void;
  export function takeSeat(name: string, graceMs: number): void;
  export function leaveSeat(): void;
  export function tick(milliseconds: number): void;
  export function cancel(timer: number): void;
}

declare module "bennu:channel/droppable@0.1.0" {
  export function broadcastDroppable(key: string, event: string, payload: Packed): void;
  export function broadcastFromDroppable(key: string, event: string, payload: Packed): void;
  export function publishDroppable(topic: string, key: string, event: string, payload: Packed): void;
}

declare module "bennu:channel/schedule@0.1.0" {
  export function schedule(topic: string, atMs: number, key: string, event: string, payload: Packed): void;
  export function cancelSchedule(topic: string, key: string): void;
  export function get(topic: string, key: string): number | null;
  export function due(): number | null;
  export function key(): string | null;
}

declare module "bennu:engine/script@0.1.0" {
  export function offers(callbacks: string[]): void;
  export function failed(problem: string): void;
}

declare module "bennu:script" {
  const channels: any;
  export default channels;
}

declare module "bennu:globals";

declare function btoa(raw: string): string;
declare function atob(text: string): string;


