import { Presence, Socket } from "./phoenix.mjs";

// Two users on one page. Each has a connection of its own, as in two browsers.
for (const user of ["Ada", "Bo"]) open(user);

function open(user) {
  const pane = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  document.getElementById("panes").append(pane);
  const [title, note, list, form] = ["h2", ".note", ".list", "form"].map((name) => pane.querySelector(name));
  title.textContent = user;

  const socket = new Socket("/socket");
  socket.connect();

  const room = socket.channel("room:lobby", { user });
  room.on("new_msg", (message) => add(message.user === user ? "own" : "other", message.body, message.user));
  room.on("joined", (other) => add("event", `${other.user} came in`));
  room.on("left", (other) => add("event", `${other.user} left`));
  const presence = new Presence(room);
  presence.onSync(() => (note.textContent = `here: ${presence.list((name) => name).join(", ")}`));
  room.onError(() => pane.classList.remove("online"));
  room.join().receive("ok", () => pane.classList.add("online")).receive("error", ({ reason }) => add("event", reason));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    room.push("new_msg", { body: form.body.value }).receive("error", ({ reason }) => add("event", reason));
    form.reset();
  });

  function add(kind, text, from) {
    const line = document.createElement("li");
    line.className = kind;
    line.textContent = text;
    if (from) line.prepend(Object.assign(document.createElement("b"), { textContent: from }));
    list.append(line);
    line.scrollIntoView({ block: "nearest" });
  }
}
