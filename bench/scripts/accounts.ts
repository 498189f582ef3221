// The event of the plugin `ledger` that the benchmark of clusters uses, in TypeScript. The benchmark serves several copies with other topics.
import { channel, plugin, store } from "bennu";

const accounts = channel({
  on: {
    deposit({ to, n }: { to: string; n: number }) {
      const balance = Number(store.get(`account:${to}`) ?? 0) + n;
      store.put(`account:${to}`, balance);
      return { balance };
    },
  },
});

export default plugin({ "accounts:*": accounts });
