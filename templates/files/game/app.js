import { Socket } from "./phoenix.mjs";
import { RoomState } from "./room_state.mjs";

const SIZE = 5;

// Two players on one page. Each has a connection of its own, as in two browsers.
for (const user of ["Ada", "Bo"]) open(user);

function open(user) {
  const pane = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  document.getElementById("panes").append(pane);
  const [title, note, board] = ["h2", ".note", ".board"].map((name) => pane.querySelector(name));
  title.textContent = user;

  const socket = new Socket("/socket");
  socket.connect();

  const game = socket.channel("game:1", { user });
  const fields = [];
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      const field = document.createElement("button");
      field.setAttribute("aria-label", `column ${x + 1}, row ${y + 1}`);
      field.addEventListener("pointerdown", () => game.push("hit", { x, y }));
      fields.push(field);
    }
  }
  board.append(...fields);

  new RoomState(game, {
    onChange: ({ target, scores = {} }) => {
      fields.forEach((field, at) => field.classList.toggle("target", at === target.y * SIZE + target.x));
      note.textContent = Object.entries(scores).map(([name, score]) => `${name} ${score}`).join(" · ");
    },
  });
  game.onError(() => pane.classList.remove("online"));
  game.join().receive("ok", () => pane.classList.add("online")).receive("error", ({ reason }) => (note.textContent = reason));
}
