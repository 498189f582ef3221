import { Socket } from "./phoenix.mjs";

// Two users on one page. Each has a connection of its own, as in two browsers.
open("Ada", "Bo");
open("Bo", "Ada");

function open(user, other) {
  const pane = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  document.getElementById("panes").append(pane);
  const [title, note, list, form] = ["h2", ".note", ".list", "form"].map((name) => pane.querySelector(name));
  title.textContent = user;
  form.text.placeholder = `A note for ${other}`;
  form.text.setAttribute("aria-label", form.text.placeholder);

  const socket = new Socket("/socket");
  socket.connect();

  const inbox = socket.channel(`inbox:${user}`);
  const lines = new Map();
  inbox.on("notified", add);
  inbox.on("read", ({ id }) => {
    lines.get(id)?.remove();
    lines.delete(id);
    count();
  });
  const refused = ({ reason }) => (note.textContent = reason);
  inbox.onError(() => pane.classList.remove("online"));
  inbox.join().receive("ok", ({ unread }) => {
    unread.forEach(add);
    count();
    pane.classList.add("online");
  }).receive("error", refused);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    inbox.push("tell", { user: other, text: form.text.value }).receive("error", refused);
    form.reset();
  });

  function add({ id, text, at }) {
    if (lines.has(id)) return;
    const line = document.createElement("li");
    line.className = "other";
    const time = Object.assign(document.createElement("b"), { textContent: new Date(at).toLocaleTimeString() });
    const read = Object.assign(document.createElement("button"), { textContent: "Read" });
    read.addEventListener("click", () => inbox.push("read", { id }));
    line.append(time, text, read);
    list.append(line);
    lines.set(id, line);
    count();
  }

  function count() {
    note.textContent = lines.size ? `${lines.size} unread` : "nothing new";
  }
}
