// Four in a row: seven columns, each of which is a button. The server decides about every disc; this file only shows the state.

import { make } from "./make.js";

const COLUMNS = 7;
const ROWS = 6;

/** The names of the two sides' discs. */
export const SIDES = ["sun", "moon"];

export class Four {
  #play;
  #columns;

  constructor(scene, play) {
    this.#play = play;
    this.board = make("div", "board");
    this.board.setAttribute("role", "group");
    this.board.setAttribute("aria-label", "Board");
    this.#columns = Array.from({ length: COLUMNS }, (_, at) => this.#column(at));
    this.board.append(...this.#columns);
    this.board.addEventListener("keydown", (event) => this.#walk(event));
    scene.replaceChildren(this.board);
  }

  #column(at) {
    const column = make("button", "column");
    column.type = "button";
    column.tabIndex = at === (COLUMNS - 1) / 2 ? 0 : -1;
    column.append(...Array.from({ length: ROWS }, () => make("span", "cell")));
    column.addEventListener("click", () => {
      if (column.getAttribute("aria-disabled") !== "true") this.#play.ask("drop", { column: at });
    });
    return column;
  }

  /** The Tab key moves the focus to the board, and the arrow keys move it within the board. */
  #walk(event) {
    const at = this.#columns.indexOf(event.target);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (at < 0 || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = this.#columns[(at + step + COLUMNS) % COLUMNS];
    this.#columns[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  draw({ phase, columns, turn, last, end }, seat) {
    const isOurTurn = phase === "playing" && turn === seat && this.#play.isJoined;
    this.board.classList.toggle("ours", isOurTurn);
    const row = new Set((end?.row ?? []).map((cell) => cell.join()));
    this.#columns.forEach((column, at) => {
      const discs = columns[at];
      const isFull = discs.length === ROWS;
      column.setAttribute("aria-disabled", !isOurTurn || isFull);
      const said = [...discs].map((side) => SIDES[side]).join(", ") || "empty";
      column.setAttribute("aria-label", `Column ${at + 1}: ${said}`);
      column.style.setProperty("--next", ROWS - discs.length);
      [...column.children].forEach((cell, height) => {
        const side = discs[height];
        const isLast = at === last && height === discs.length - 1;
        const name = `cell ${SIDES[side] ?? ""}${isLast ? " last" : ""}${row.has(`${at},${height}`) ? " won" : ""}`;
        if (cell.className !== name) cell.className = name;
      });
    });
  }

  /** Explains the controls, only to a player. */
  how({ phase }, seat) {
    if (seat === null) return "Only the two who play can drop discs.";
    if (phase !== "playing") return "";
    return "On your turn, tap a column, or select one with the arrow keys and press Enter.";
  }

  /** The status text for this player or spectator. */
  say({ phase, players, turn, end, run }, seat) {
    const name = (side) => players[side]?.name ?? "The other";
    const rule = `${{ 3: "Three", 4: "Four", 5: "Five" }[run] ?? run} in a row wins.`;
    if (phase === "waiting") return `${seat === null ? "Waiting for a second player" : "Waiting for somebody to play with"}. ${rule}`;
    if (phase === "playing") return `${turn === seat ? "Your turn" : `${name(turn)}'s turn`}. ${rule}`;
    if (end.winner === undefined) return "The board is full: a draw.";
    const won = end.winner === seat ? "You have won" : `${name(end.winner)} has won`;
    return `${won}${{ row: "", resigned: ": the other one gave up", left: ": the other one left" }[end.why] ?? ""}.`;
  }

  end() {}
}
