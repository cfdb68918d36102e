// All frames as pictures; one is selected. Pictures are fetched when they come near the view.

import { byId, h } from "./dom.js";
import { positivesOf } from "./findings.js";
import { percent } from "./format.js";
import { mark } from "./labels.js";
import { FRAME_ERRORS, TEXT } from "./strings.js";

export class Film {
  #onSelect;
  #pictures = null;
  #cells = []; // {frame, item, button} in order of upload
  #byItem = new Map();
  #shown = [];
  #test = () => true;
  #selected = null;
  #near = new IntersectionObserver((seen) => this.#load(seen), { rootMargin: "400px" });

  constructor(onSelect) {
    this.#onSelect = onSelect;
  }

  /** "3 of 12", among the frames shown. */
  get place() {
    return { index: this.#shown.indexOf(this.#selected), of: this.#shown.length };
  }

  empty(pictures) {
    this.#near.disconnect();
    this.#pictures = pictures;
    this.#cells = [];
    this.#byItem.clear();
    this.#shown = [];
    this.#test = () => true;
    this.#selected = null;
    byId("film").replaceChildren();
  }

  append(frames) {
    const cells = frames.map((frame) => this.#cell(frame));
    this.#cells.push(...cells);
    byId("film").append(...cells.map(({ item }) => item));
    for (const cell of cells) {
      this.#byItem.set(cell.item, cell);
      this.#near.observe(cell.item);
    }
    this.#apply();
  }

  filter(test) {
    this.#test = test;
    this.#apply();
    if (this.#shown.length > 0 && !this.#shown.includes(this.#selected)) this.#choose(this.#shown[0]);
    else if (this.#selected) this.#onSelect(this.#selected.frame);
  }

  select(frame) {
    this.#choose(this.#cells.find((cell) => cell.frame === frame));
  }

  step(by) {
    if (this.#shown.length === 0) return;
    const to = Math.max(0, Math.min(this.#shown.length - 1, this.place.index + by));
    const hadFocus = byId("film").contains(document.activeElement);
    this.#choose(this.#shown[to]);
    if (hadFocus) this.#shown[to].button.focus({ preventScroll: true });
  }

  neighbours() {
    const { index } = this.place;
    return [this.#shown[index + 1], this.#shown[index - 1]].filter(Boolean).map(({ frame }) => frame);
  }

  #apply() {
    for (const { item, frame } of this.#cells) item.hidden = !this.#test(frame);
    this.#shown = this.#cells.filter(({ item }) => !item.hidden);
    byId("film").dataset.note = this.#shown.length === 0 ? TEXT.noFrames : "";
  }

  #choose(cell) {
    this.#selected?.button.removeAttribute("aria-current");
    this.#selected?.button.setAttribute("tabindex", "-1");
    this.#selected = cell;
    cell.button.setAttribute("aria-current", "true");
    cell.button.setAttribute("tabindex", "0");
    cell.item.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.#onSelect(cell.frame);
  }

  #cell(frame) {
    const found = positivesOf(frame);
    const button = h(
      "button",
      { class: "cell", type: "button", tabindex: "-1", "aria-label": spoken(frame, found), title: frame.name },
      h("span", { class: "thumb on-black" }, frame.error ? h("span", { class: "unshown bad" }, TEXT.notRead) : h("img", { alt: "" })),
      h("span", { class: "cell-foot" }, h("span", { class: "quiet" }, String(frame.ordinal + 1)), h("span", { class: "marks" }, found.map(({ label }) => mark(label)))),
    );
    const cell = { frame, button, item: h("li", {}, button) };
    button.addEventListener("click", () => this.#choose(cell));
    return cell;
  }

  #load(seen) {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      this.#near.unobserve(target);
      const cell = this.#byItem.get(target);
      if (cell?.frame.image_url) this.#fetch(cell);
    }
  }

  async #fetch({ frame, item }) {
    try {
      item.querySelector("img").src = await this.#pictures.url(frame.image_url);
    } catch {
      item.querySelector(".thumb").replaceChildren(h("span", { class: "unshown" }, TEXT.pictureLost));
    }
  }
}

function spoken(frame, found) {
  const what = frame.error
    ? `not read: ${FRAME_ERRORS[frame.error.code] ?? frame.error.detail}`
    : found.map(({ label, probability }) => `${label} ${percent(probability)}`).join(", ") || "no finding";
  return `Frame ${frame.ordinal + 1}, ${what}`;
}
