// The channel in Socket.IO, with everything at its default except that long-polling is off.

import { createServer } from "node:http"
import { Server } from "socket.io"

const [host, port] = (process.argv[process.argv.indexOf("--listen") + 1] ?? "127.0.0.1:0").split(":")

const http = createServer()
const io = new Server(http, { serveClient: false, transports: ["websocket"] })

io.on("connection", (socket) => {
  socket.on("join", (topic, answer) => {
    socket.join(topic)
    answer("ok")
  })
  socket.on("leave", (topic, answer) => {
    socket.leave(topic)
    answer("ok")
  })
  socket.on("echo", (payload, answer) => answer(payload))
  socket.on("shout", (topic, payload) => io.to(topic).emit("shout", payload))
})

http.listen(Number(port), host, () => {
  const { address, port } = http.address()
  console.log(`Listening on http://${address}:${port}`)
})
