export * from "./recover.mjs";
export * from "./room_state.mjs";
