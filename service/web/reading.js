// A finished analysis: film of frames, the selected one large, what was found in it.

import { Card } from "./card.js";
import { byId, h } from "./dom.js";
import { download, toCsv, toJson } from "./export.js";
import { Film } from "./film.js";
import { isPositive, shows } from "./findings.js";
import { summary } from "./format.js";
import { inOrder, LABEL_ORDER, mark } from "./labels.js";
import { goTo, isFinal } from "./jobs.js";
import { paperButtons } from "./papers.js";
import { Pictures } from "./pictures.js";
import { tell } from "./says.js";
import { Stage } from "./stage.js";

const FILTERS = {
  all: () => true,
  found: isPositive,
  unread: ({ error }) => Boolean(error),
};

export class Reading {
  #analysis = null;
  #version = null;
  #frames = [];
  #complete = false;
  #filter = "all";
  #pictures = null;
  #film = new Film((frame) => this.#select(frame));
  #stage = new Stage((step) => this.step(step));
  #card = new Card((label) => this.#stage.choose(label));

  constructor() {
    byId("export-csv").addEventListener("click", () => this.#export("csv", "text/csv", toCsv));
    byId("export-json").addEventListener("click", () => this.#export("json", "application/json", toJson));
  }

  async open(api, id, signal) {
    this.#empty(new Pictures(api));
    signal.addEventListener("abort", () => this.#pictures.end());
    this.#analysis = await api.analysis(id, signal);
    if (!isFinal(this.#analysis.job)) return location.replace(goTo(this.#analysis.job.id));
    const { name, version } = this.#analysis.model;
    this.#version = await api.version(name, version);
    this.#card.showPassport(this.#analysis, this.#version, paperButtons(api, this.#version));
    this.#stage.useVersion(this.#version);
    for await (const page of api.frames(id, signal)) this.#append(page);
    this.#complete = true;
    this.#sayState();
  }

  /** Move among the frames that the filter shows. */
  step(by) {
    this.#film.step(by);
  }

  filter(name) {
    this.#filter = name === this.#filter ? "all" : name;
    this.#film.filter(this.#test());
    this.#sayState();
  }

  holdMap = (held) => this.#stage.holdMap(held);
  toggleMarks = () => this.#stage.toggleMarks();

  #empty(pictures) {
    this.#pictures?.end();
    this.#pictures = pictures;
    this.#frames = [];
    this.#complete = false;
    this.#filter = "all";
    this.#film.empty(pictures);
    this.#stage.empty(pictures);
    this.#card.empty();
    byId("filters").replaceChildren();
  }

  #append(page) {
    const first = this.#frames.length === 0;
    this.#frames.push(...page);
    this.#film.append(page);
    this.#stage.showPlace(this.#film.place);
    // Begin where there is something to see.
    if (first && page.length > 0) this.#film.select(page.find(isPositive) ?? page[0]);
    this.#sayState();
  }

  #select(frame) {
    this.#stage.show(frame);
    this.#stage.showPlace(this.#film.place);
    this.#card.show(frame);
    for (const near of this.#film.neighbours()) this.#stage.prefetch(near);
  }

  #test() {
    return FILTERS[this.#filter] ?? ((frame) => shows(frame, this.#filter));
  }

  #sayState() {
    const { frames, unreadable } = this.#analysis.counts;
    const positive = this.#frames.filter(isPositive).length;
    tell(summary({ frames, positive, unreadable, complete: this.#complete }));
    const labels = inOrder([...new Set([...LABEL_ORDER, ...Object.keys(this.#analysis.counts.positives)])]);
    const chips = [
      this.#chip("all", "All", frames),
      this.#chip("found", "Findings", positive),
      ...labels.map((label) => this.#chip(label, label, this.#analysis.counts.positives[label] ?? 0, mark(label))),
      this.#chip("unread", "Not read", unreadable),
    ];
    const focused = document.activeElement?.dataset.filter;
    byId("filters").replaceChildren(...chips);
    if (focused) byId("filters").querySelector(`[data-filter="${CSS.escape(focused)}"]`)?.focus();
  }

  #chip(name, words, n, shape = null) {
    const pressed = this.#filter === name;
    return h(
      "button",
      {
        class: "chip",
        type: "button",
        "data-filter": name,
        "aria-pressed": String(pressed),
        disabled: n === 0 && !pressed,
        onclick: () => this.filter(name),
      },
      shape,
      h("span", { class: shape ? "chip-words" : null }, words),
      h("b", {}, n.toLocaleString("en")),
    );
  }

  #export(extension, type, write) {
    const text = write(this.#analysis, this.#version, this.#frames, this.#complete);
    download(`enteron-${this.#analysis.id}.${extension}`, type, text);
  }
}
