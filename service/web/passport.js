// What a model version is, what was measured of it, and how far its maps may be trusted.

import { h } from "./dom.js";
import { count, percent, shortHash, when } from "./format.js";
import { inOrder, mark } from "./labels.js";
import { EVIDENCE, TEXT } from "./strings.js";

const MAP_SHOWN_FROM = 0.5; // a map whose peak misses the lesion more often than not misleads

export function passportRows(analysis, version, papers) {
  const { id, model, engines, operating_point: point, created_at: at, job } = analysis;
  const { evidence } = version;
  return {
    Model: `${model.name}, version ${model.version}`,
    Weights: h("code", { title: model.sha256 }, shortHash(model.sha256)),
    Engine: engines.map(engineOf).join("; ") || TEXT.notRecorded,
    "Operating point": point,
    Evidence: h("span", { class: `badge ${evidence}` }, EVIDENCE[evidence]),
    Measured: measured(version),
    Papers: papers,
    "Intended use": version.intended_use || TEXT.notStated,
    Limits: [version.limitations, TEXT.angioectasia].flat().filter(Boolean).join(" "),
    Read: when(job.finished_at ?? at),
    Job: h("a", { href: `#/jobs/${job.id}`, title: job.id }, "state and log"),
    Analysis: h("code", { title: id }, id.slice(0, 13), "…"),
  };
}

function engineOf({ engine, build, dtype, device, processor, threads }) {
  return `${engine} ${build}, ${dtype}, ${device} ${processor}, ${count(threads)} threads`;
}

/** AUC per label with its interval, and on how many frames. */
function measured({ metrics }) {
  const labels = metrics?.labels ?? {};
  if (Object.keys(labels).length === 0) return TEXT.notMeasured;
  const lines = inOrder(Object.keys(labels)).map((label) => h("li", {}, mark(label), auc(labels[label])));
  const on = `${count(metrics.frames ?? 0)} test frames of ${count(metrics.groups ?? 0)} persons or videos`;
  return h("ul", { class: "measured" }, lines, h("li", { class: "quiet" }, on));
}

function auc({ auc: estimate }) {
  if (!estimate) return `AUC ${TEXT.notMeasured}`;
  const { value, low, high } = estimate;
  const interval = low === null || low === undefined ? "" : ` (${low.toFixed(2)}–${high.toFixed(2)})`;
  return `AUC ${value.toFixed(2)}${interval}`;
}

/** Whether the map of a label may be shown, and what to say beside it. */
export function mapQuality({ metrics }, label) {
  const pointing = metrics?.labels?.[label]?.pointing;
  if (typeof pointing?.rate !== "number") return { hidden: false, note: TEXT.mapUnmeasured };
  const share = percent(pointing.rate);
  const hidden = pointing.rate < MAP_SHOWN_FROM;
  return { hidden, note: hidden ? TEXT.mapPoor(share) : TEXT.mapMeasured(share, count(pointing.n)) };
}
