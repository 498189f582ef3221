// The events of the plugin `echo` that the benchmarks use, in JavaScript, against the contract alone: componentize-qjs makes a component of
// it, with QuickJS in it. The host's own engine runs `echo.ts`.

const json = (val) => ({ tag: "json", val });

const answers = {
  echo: (payload) => payload,
  parse: (payload) => json(JSON.stringify(JSON.parse(payload.val))),
  build: () => json(JSON.stringify({ build: 1 })),
  // Longer than a millisecond, so that other calls need instances of their own.
  work(payload) {
    const { rounds } = JSON.parse(payload.val);
    let sum = 0;
    for (let round = 0; round < rounds; round++) sum += round;
    return json(JSON.stringify({ sum }));
  },
};

export const channel = {
  describe: () => [{ pattern: "bench:*", intercepts: [], assignsVersion: 0, roomVersion: 0, options: [] }],
  join: () => ({ tag: "admitted", val: { assigns: new Uint8Array(), room: undefined, response: json("{}") } }),
  handleIn(_member, event, payload) {
    const reply = { status: "ok", payload: (answers[event] ?? answers.echo)(payload) };
    return { assigns: undefined, room: undefined, answer: { tag: "reply", val: reply } };
  },
  handleInfo: () => ({ assigns: undefined, room: undefined, answer: { tag: "none" } }),
  terminate: () => undefined,
};
