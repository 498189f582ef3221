// The orders of a shop, on the pages of its customers. Each topic `orders:USER` belongs to one user, and only this user may join it.
// The shop's own web application is app.mjs, beside this file.
//
// | sent to the topic | what it does | reply |
// | --- | --- | --- |
// | `placed {"id", "dish"}` | adds an order, and shows it in every window | `ok {}` |
//
// | the client sends | what it does | reply |
// | --- | --- | --- |
// | `acknowledge {"id"}` | marks an order, and delivers a webhook to the application | `ok {}` |
//
// | the client gets | when |
// | --- | --- |
// | a list of orders `{"id", "dish", "acknowledged"}` | it has joined |
// | `placed {"id", "dish", "acknowledged"}` | there is a new order |
// | `acknowledged {"id"}` | an order was acknowledged, perhaps in another window |
//
// The configuration is `plugins.orders.config`: `hook` is the URL of the application's webhooks. The last 100 orders are kept.

import { channel, config, http, plugin, refuse } from "bennu";

interface Order {
  id: string;
  dish: string;
  acknowledged: boolean;
}

/** The most orders of a user. */
const KEPT = 100;

export default plugin({
  "orders:*": channel({
    durable: true,
    room: { orders: [] as Order[] },

    join(_params, socket) {
      if (socket.topic !== `orders:${socket.user}`) refuse("only the customer may see these orders");
      return { orders: socket.room.orders };
    },

    on: {
      acknowledge({ id }: { id?: string }, socket) {
        const order = socket.room.orders.find((order) => order.id === id);
        if (!order) refuse("there is no such order");
        if (order.acknowledged) return {};
        order.acknowledged = true;
        socket.broadcast("acknowledged", { id });
        // Stored together with the room: the application is told exactly if the customer's pages say so.
        const json = { type: "order.acknowledged", timestamp: new Date().toISOString(), data: { id, user: socket.user } };
        http.deliver(config<{ hook: string }>().hook, { json, order: id });
        return {};
      },
    },

    message: {
      placed({ id, dish }: { id?: string; dish?: string }, topic) {
        if (typeof id !== "string" || typeof dish !== "string") refuse("an order has an id and a dish");
        const { orders } = topic.room;
        // The application sends an order again if it got no answer, with the same `idempotency-key`: the host runs this once.
        const order = { id, dish, acknowledged: false };
        orders.push(order);
        orders.splice(0, orders.length - KEPT);
        topic.broadcast("placed", order);
        return {};
      },
    },
  }),
});
