// Which model and operating point read the frames; what cannot be chosen is greyed with its reason.

import { byId, h } from "./dom.js";
import { percent } from "./format.js";
import { inOrder, mark } from "./labels.js";
import { EVIDENCE, TEXT } from "./strings.js";

const DEFAULT_MODEL = "lesion-detector";
const FRAME_TASK = "image-multilabel";

export class ModelChoice {
  refusal = TEXT.noModel;
  #onChange;
  #api = null;
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
    this.#api = api;
    const models = (await api.models()).filter(({ aliases }) => Object.keys(aliases).length > 0);
    const before = this.chosen;
    byId("model").replaceChildren(...models.sort(byDefaultFirst).flatMap(options));
    if ([...byId("model").options].some(({ value }) => value === before)) byId("model").value = before;
    await this.#choose();
  }

  async #choose() {
    const option = byId("model").selectedOptions[0];
    this.#version = option ? await this.#api.version(option.dataset.name, option.dataset.version) : null;
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
      h("dd", {}, percent(thresholds[label])),
    ]);
    byId("thresholds").replaceChildren(...rows);
    byId("model-note").textContent = this.#version ? note(this.#version) : "";
    this.#onChange();
  }
}

const byDefaultFirst = (a, b) => (b.name === DEFAULT_MODEL) - (a.name === DEFAULT_MODEL) || a.name.localeCompare(b.name);

function options({ name, aliases }) {
  const sorted = Object.entries(aliases).sort(([a], [b]) => (b === "champion") - (a === "champion"));
  return sorted.map(([alias, version]) =>
    h("option", { value: `${name}@${alias}`, "data-name": name, "data-version": version }, `${name} ${alias} (v${version})`),
  );
}

function note(version) {
  const evidence = EVIDENCE[evidenceOf(version)] ?? EVIDENCE.none;
  return `Labels count as found from these thresholds on. The model was ${evidence}. ${TEXT.angioectasia}`;
}

/** The weakest evidence among the labels speaks for the model. */
export function evidenceOf({ evidence, labels = [] }) {
  const kinds = labels.map((label) => label.evidence).filter(Boolean);
  return ["none", "synthetic", "real"].find((kind) => kinds.includes(kind)) ?? evidence ?? "none";
}
