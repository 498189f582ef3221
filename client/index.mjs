export { recover } from "./recover.mjs";
export { RoomState } from "./room_state.mjs";
