// What a model version is and how far its maps may be trusted.

import { h } from "./dom.js";
import { percent, shortHash, when } from "./format.js";
import { evidenceOf } from "./models.js";
import { EVIDENCE, TEXT } from "./strings.js";

const MAP_SHOWN_FROM = 0.5; // a map whose peak misses the lesion more often than not misleads

export function passportRows({ id, model, operating_point: point, created_at: at, job }, version) {
  const evidence = evidenceOf(version);
  return {
    Model: `${model.name}, version ${model.version}`,
    Weights: h("code", { title: model.sha256 }, shortHash(model.sha256)),
    "Operating point": point,
    Evidence: h("span", { class: `badge ${evidence}` }, EVIDENCE[evidence]),
    Map: mapQuality(version).note,
    "Intended use": version.intended_use || TEXT.notMeasured,
    Limits: [version.limitations, TEXT.angioectasia].flat().filter(Boolean).join(" "),
    Read: when(job.finished_at ?? at),
    Job: h("a", { href: `#/jobs/${job.id}`, title: job.id }, "state and log"),
    Analysis: h("code", { title: id }, shortHash(id)),
  };
}

export function mapQuality({ metrics }) {
  const pointing = metrics?.cam_pointing;
  if (typeof pointing?.rate !== "number") return { hidden: false, note: TEXT.mapUnmeasured };
  const share = percent(pointing.rate);
  const hidden = pointing.rate < MAP_SHOWN_FROM;
  return { hidden, note: hidden ? TEXT.mapPoor(share) : TEXT.mapMeasured(share, pointing.n) };
}
