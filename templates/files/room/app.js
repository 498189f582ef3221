import { Socket } from "./phoenix.mjs";
import { RoomState } from "./room_state.mjs";

// Two users on one page. Each has a connection of its own, as in two browsers.
for (const user of ["Ada", "Bo"]) open(user);

function open(user) {
  const pane = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  document.getElementById("panes").append(pane);
  const [title, note, choices] = ["h2", ".note", ".choices"].map((name) => pane.querySelector(name));
  title.textContent = user;

  const socket = new Socket("/socket");
  socket.connect();

  const poll = socket.channel("poll:drinks", { user });
  new RoomState(poll, { onChange: draw });
  const refused = ({ reason }) => (note.textContent = reason);
  poll.onError(() => pane.classList.remove("online"));
  poll.join().receive("ok", () => pane.classList.add("online")).receive("error", refused);

  function draw({ counts, winner }) {
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const votes = all === 1 ? "1 vote" : `${all} votes`;
    note.textContent = winner ? `${votes}; ${winner} won the last round` : votes;
    for (const [choice, count] of Object.entries(counts)) {
      const button = choices.querySelector(`[value="${CSS.escape(choice)}"]`) ?? add(choice);
      button.querySelector("b").textContent = count;
      button.style.setProperty("--part", `${(100 * count) / Math.max(all, 1)}%`);
    }
  }

  function add(choice) {
    const button = document.createElement("button");
    button.value = choice;
    button.append(choice, document.createElement("b"));
    button.addEventListener("click", () => poll.push("vote", { choice }).receive("error", refused));
    choices.append(button);
    return button;
  }
}
