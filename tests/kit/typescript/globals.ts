// A script that says what it finds in its global scope.
import { channel, plugin } from "bennu";

function raised(call: () => unknown): unknown {
  try {
    return call();
  } catch (error: any) {
    return error.name;
  }
}

const kind = (name: string) => typeof (globalThis as any)[name];

/** What the script finds while it is evaluated. */
export const first = {
  time: Date.now(), random: Math.random(), process: kind("process"), timeout: raised(() => (globalThis as any).setTimeout(() => {}, 1)),
};

export default plugin({
  "a:*": channel({
    on: {
      look: () => ({ time: Date.now(), process: kind("process") }),
      say: ({ text }: { text: string }) => {
        console.log(text);
        return {};
      },
      track: ({ text }: { text: string }, socket) => socket.track(text),
      fetch: () => (globalThis as any).fetch("https://a.example"),
    },
  }),
});
