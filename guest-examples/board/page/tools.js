// The tools: pen or hand, the color, and the width. The choice stays in this browser.

import { COLORS, UNITS, WIDTHS } from "./line.js";
import { hue, initial, make } from "./make.js";

const $ = (id) => document.getElementById(id);
const COLOR_NAMES = ["Ink", "Grey", "Red", "Orange", "Yellow", "Green", "Blue", "Violet"];
const WIDTH_NAMES = ["Fine", "Medium", "Thick", "Marker"];
/** The largest dot of a width in its button, in pixels. */
const DOT = 18;

export class Tools {
  #changed;

  constructor({ changed }) {
    this.#changed = changed;
    $("colors").append(...COLOR_NAMES.map((name, value) => option("color", value, name, "swatch")));
    $("widths").append(...WIDTH_NAMES.map((name, value) => option("width", value, name, "dot")));
    WIDTHS.forEach((width, value) => {
      const size = Math.min(3 + (width / UNITS) * 0.75, DOT);
      $("widths").children[value].style.setProperty("--size", `${size}px`);
    });
    for (const kind of ["color", "width"]) this.choose(kind, localStorage.getItem(`board-${kind}`) ?? (kind === "color" ? 0 : 1));
    $("tools").addEventListener("change", ({ target }) => {
      if (target.name !== "tool") localStorage.setItem(`board-${target.name}`, target.value);
      this.#show();
    });
  }

  get tool() {
    return chosen("tool");
  }

  get color() {
    return Number(chosen("color"));
  }

  get width() {
    return Number(chosen("width"));
  }

  choose(kind, value) {
    const input = [...document.getElementsByName(kind)].find((input) => input.value === String(value));
    if (input) input.checked = true;
    this.#show();
  }

  /** Shows the colors of a theme. */
  paint(theme) {
    COLORS[theme].forEach((color, value) => $("colors").children[value].style.setProperty("--color", color));
    this.#show();
  }

  /** Shows the user's face. */
  greet(name) {
    const face = $("me").firstElementChild;
    face.textContent = initial(name);
    face.style.setProperty("--hue", hue(name));
  }

  /** The widths have the chosen color. */
  #show() {
    $("widths").style.setProperty("--color", $("colors").children[this.color].style.getPropertyValue("--color"));
    this.#changed(this);
  }
}

const chosen = (kind) => [...document.getElementsByName(kind)].find(({ checked }) => checked)?.value;

function option(kind, value, name, look) {
  const label = make("label", "tool");
  label.title = name;
  const input = make("input");
  Object.assign(input, { type: "radio", name: kind, value, ariaLabel: name });
  label.append(input, make("span", look));
  return label;
}
