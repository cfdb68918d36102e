// Which model and operating point read the frames; what cannot be chosen is greyed with its reason.

import { byId, h } from "./dom.js";
import { percent } from "./format.js";
import { inOrder, LABEL_OFF, mark } from "./labels.js";
import { EVIDENCE, TEXT } from "./strings.js";

// What reads where none is named, first one first: as the service chooses, see its DEFAULT_READERS.
const DEFAULT_MODELS = ["lesion-detector", "starter-detector"];
const FRAME_TASK = "image-multilabel";

export class ModelChoice {
  refusal = TEXT.noModel;
  #onChange;
  #versions = new Map(); // by `name@alias`
  #version = null;

  constructor(onChange) {
    this.#onChange = onChange;
    byId("model").addEventListener("change", () => this.#choose());
    byId("point").addEventListener("change", () => this.#showPoint());
  }

  /** `name@alias`, as POST /analyses takes it. */
  get chosen() {
    return byId("model").value;
  }

  get point() {
    return byId("point").value;
  }

  get sentence() {
    return this.#version ? `${this.#version.name} v${this.#version.version} (${this.point})` : this.chosen;
  }

  async load(api) {
    const before = this.chosen;
    this.#versions = new Map((await api.models()).sort(byDefaultFirst).flatMap(named));
    const options = [...this.#versions].map(([name, { version }]) => h("option", { value: name }, `${name} (v${version})`));
    byId("model").replaceChildren(...options);
    const wanted = [before, ...DEFAULT_MODELS.map((name) => `${name}@champion`)];
    byId("model").value = wanted.find((name) => this.#versions.has(name)) ?? options[0]?.value ?? "";
    this.#choose();
  }

  #choose() {
    this.#version = this.#versions.get(this.chosen) ?? null;
    const points = Object.keys(this.#version?.operating_points ?? {});
    byId("point").replaceChildren(...points.map((point) => h("option", {}, point)));
    byId("point").value = this.#version?.default_operating_point ?? "";
    byId("model").disabled = byId("point").disabled = this.#version === null;
    if (this.#version === null) this.refusal = TEXT.noModel;
    else this.refusal = this.#version.task === FRAME_TASK ? null : TEXT.notAnImageModel;
    this.#showPoint();
  }

  #showPoint() {
    const thresholds = this.#version?.operating_points[this.point] ?? {};
    const rows = inOrder(Object.keys(thresholds)).flatMap((label) => [
      h("dt", {}, mark(label), label),
      h("dd", {}, thresholds[label] < LABEL_OFF ? percent(thresholds[label]) : TEXT.off),
    ]);
    byId("thresholds").replaceChildren(...rows);
    byId("model-note").textContent = this.#version ? TEXT.modelNote(EVIDENCE[this.#version.evidence]) : "";
    this.#onChange();
  }
}

const byDefaultFirst = (a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name);

function rank({ name }) {
  const place = DEFAULT_MODELS.indexOf(name);
  return place < 0 ? DEFAULT_MODELS.length : place;
}

/** Only what an alias names is offered: that somebody promoted, with a reason. */
function named({ name, aliases, versions }) {
  const sorted = Object.entries(aliases).sort(([a], [b]) => (b === "champion") - (a === "champion"));
  return sorted.map(([alias, number]) => [`${name}@${alias}`, versions.find(({ version }) => version === number)]);
}
