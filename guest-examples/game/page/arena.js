// Draws the game “Lights”, in which it is always night.

import { initial, make } from "./make.js";
import { Motion } from "./motion.js";
import { Steer } from "./steer.js";

const WIDTH = 1600;
const HEIGHT = 900;
/** The margin around the world, so that a runner at its edge is completely visible. */
const RIM = 24;
const RADIUS = 34;
/** The duration of the animation of a caught light. */
const BURST = 350;
const HUES = [55, 250, 145, 330, 95, 200, 20, 290];

/** The colour of a seat. */
export const colour = (seat) => `oklch(74% 0.15 ${HUES[seat % HUES.length]})`;

export class Arena {
  #motion = new Motion();
  #bursts = [];
  #state = undefined;
  #seat = undefined;
  #wasJoined = true;
  #isStill = matchMedia("(prefers-reduced-motion: reduce)");
  #frame;

  constructor(scene, play) {
    this.play = play;
    this.canvas = make("canvas", "world");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "The world, seen from above");
    this.context = this.canvas.getContext("2d");
    this.stick = [make("span", "stick"), make("span", "stick")];
    scene.replaceChildren(this.canvas, make("p", "pad", "Drag here to run"), ...this.stick);
    this.steer = new Steer(scene, (way) => this.play.seat != null && this.play.tell("go", way));
    const paint = (now) => {
      this.#paint(now);
      this.#frame = requestAnimationFrame(paint);
    };
    this.#frame = requestAnimationFrame(paint);
  }

  draw(state, seat) {
    const now = performance.now();
    const places = Object.entries(state.players).filter(([, { x }]) => x !== undefined);
    // Every change of the state is drawn, but only a change of the players is a movement.
    if (state.players !== this.#state?.players) {
      this.#motion.push(new Map(places.map(([seat, { x, y }]) => [seat, { x, y }])), now);
    }
    if (this.#state && state.phase === this.#state.phase) {
      for (const [light, at] of Object.entries(this.#state.lights)) {
        if (!state.lights[light]) this.#bursts.push({ at, since: now });
      }
    }
    this.#bursts = this.#bursts.filter(({ since }) => now - since < BURST);
    this.#state = state;
    this.#seat = seat;
    if (this.play.isJoined && !this.#wasJoined) this.steer.again();
    this.#wasJoined = this.play.isJoined;
  }

  /** Explains the controls, only to a player. */
  how(_state, seat) {
    return seat === null ? "Only those who play can run." : "W A S D or the arrow keys; on a touch screen, drag anywhere.";
  }

  say({ phase, players, left }, seat) {
    const watches = seat === null;
    if (phase === "waiting") return watches ? "Waiting for more players." : "Waiting for somebody to play with. You can run meanwhile.";
    if (phase === "ready") return watches ? "The round is about to begin …" : "Get ready …";
    if (phase === "playing") return left <= 10 ? "The last ten seconds!" : watches ? "The round has started." : "Catch the lights!";
    const best = Math.max(...Object.values(players).map(({ score }) => score));
    if (best === 0) return "Nobody caught a light.";
    const winners = Object.entries(players).filter(([, { score }]) => score === best);
    const names = winners.map(([at, { name }]) => (Number(at) === seat ? "you" : name));
    const text = `${names.join(" and ")} caught the most: ${best}.`;
    return text[0].toUpperCase() + text.slice(1);
  }

  end() {
    cancelAnimationFrame(this.#frame);
    this.steer.end();
  }

  #paint(now) {
    const { canvas, context } = this;
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const scale = width / (WIDTH + 2 * RIM);
    context.setTransform(scale, 0, 0, scale, RIM * scale, RIM * scale);
    this.#paintGround();
    if (!this.#state) return;
    // On a small screen things are drawn larger than their size in the world, so that they are readable.
    const size = Math.max(1, 0.55 / (scale / ratio));
    for (const at of Object.values(this.#state.lights)) this.#paintLight(at, now, Math.min(size, 1.5));
    for (const { at, since } of this.#bursts) this.#paintBurst(at, (now - since) / BURST);
    const places = [...this.#motion.at(now)];
    // Our own runner is drawn last, above the others.
    places.sort(([one], [other]) => (Number(one) === this.#seat) - (Number(other) === this.#seat));
    for (const [seat, at] of places) this.#paintRunner(seat, at, size);
    // Tests can't read a canvas, so they read the positions here.
    this.canvas.runners = Object.fromEntries(places.map(([seat, at]) => [this.#state.players[seat]?.name, at]));
    this.#paintClock(size);
    this.#placeStick();
  }

  #paintGround() {
    const { context } = this;
    const ground = context.createLinearGradient(0, 0, 0, HEIGHT);
    ground.addColorStop(0, "#1c1a33");
    ground.addColorStop(0.7, "#2c2145");
    ground.addColorStop(1, "#57304d");
    context.fillStyle = ground;
    context.fillRect(-RIM, -RIM, WIDTH + 2 * RIM, HEIGHT + 2 * RIM);
    context.fillStyle = "rgb(255 255 255 / 5%)";
    for (let x = 50; x < WIDTH; x += 100) {
      for (let y = 50; y < HEIGHT; y += 100) context.fillRect(x - 2, y - 2, 4, 4);
    }
  }

  #paintLight([x, y], now, size) {
    const { context } = this;
    const pulse = this.#isStill.matches ? 1 : 1 + 0.12 * Math.sin(now / 260 + x);
    const glow = context.createRadialGradient(x, y, 0, x, y, 58 * pulse * size);
    glow.addColorStop(0, "rgb(255 209 120 / 85%)");
    glow.addColorStop(0.3, "rgb(255 170 70 / 35%)");
    glow.addColorStop(1, "rgb(255 150 50 / 0%)");
    context.fillStyle = glow;
    context.fillRect(x - 90, y - 90, 180, 180);
    context.fillStyle = "#fff1cf";
    disc(context, x, y, 13 * size);
  }

  #paintBurst([x, y], part) {
    if (this.#isStill.matches || part >= 1) return;
    const { context } = this;
    context.strokeStyle = `rgb(255 220 150 / ${(1 - part) * 80}%)`;
    context.lineWidth = 6 * (1 - part) + 1;
    context.beginPath();
    context.arc(x, y, 20 + 60 * part, 0, 7);
    context.stroke();
  }

  #paintRunner(seat, { x, y }, size) {
    const { context } = this;
    const player = this.#state.players[seat];
    if (!player) return;
    const radius = RADIUS * Math.min(size, 1.4);
    const isUs = Number(seat) === this.#seat;
    context.globalAlpha = player.here ? 1 : 0.35;
    context.fillStyle = colour(seat);
    disc(context, x, y, radius);
    if (isUs) {
      context.strokeStyle = "#fff";
      context.lineWidth = 6;
      context.beginPath();
      context.arc(x, y, radius + 7, 0, 7);
      context.stroke();
    }
    context.fillStyle = "#1c1a33";
    text(context, initial(player.name), x, y + 2, radius, 700);
    const name = player.here ? player.name : `${player.name} (away)`;
    const [label, below] = [24 * size, y + radius + 26 * size];
    context.fillStyle = "#f3ecf4";
    // At the lower edge, the name is above its runner.
    text(context, name, x, below + label > HEIGHT ? y - radius - 24 * size : below, label, isUs ? 700 : 500);
    context.globalAlpha = 1;
  }

  #paintClock(size) {
    const { context } = this;
    const { phase, left } = this.#state;
    context.fillStyle = "#fff";
    if (phase === "ready") text(context, left, WIDTH / 2, HEIGHT / 2, 260, 750);
    if (phase !== "playing") return;
    context.globalAlpha = 0.85;
    text(context, `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`, WIDTH / 2, 44 * size, 48 * size, 700);
    context.globalAlpha = 1;
  }

  #placeStick() {
    const finger = this.#seat == null ? undefined : this.steer.finger;
    this.stick.forEach((part, at) => {
      part.hidden = !finger;
      if (!finger) return;
      const [x, y] = at === 0 ? finger.from : finger.to;
      part.style.transform = `translate(${x}px, ${y}px)`;
    });
  }
}

function disc(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

function text(context, words, x, y, size, weight) {
  context.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(words, x, y);
}
