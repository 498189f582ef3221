// The events of the plugin `echo` that the benchmarks use, in TypeScript.
import { channel, plugin } from "bennu";

const echo = channel({
  state: { count: 0 },
  on: {
    parse: (payload: unknown) => payload,
    count: (_: unknown, socket) => ({ count: ++socket.state.count }),
    build: () => ({ build: 1 }),
    // Longer than a millisecond, so that other calls need instances of their own.
    work({ rounds }: { rounds: number }) {
      let sum = 0;
      for (let round = 0; round < rounds; round++) sum += round;
      return { sum };
    },
  },
});

export default plugin({ "bench:*": echo });
