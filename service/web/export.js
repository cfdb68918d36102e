// The findings as files; cells that a spreadsheet would run as formulas are disarmed.

import { RESEARCH_USE } from "./strings.js";

const COLUMNS = [
  "frame", "name", "sha256", "label", "code", "probability", "threshold", "positive", "evidence",
  "peak_x_px", "peak_y_px", "box_x_px", "box_y_px", "box_w_px", "box_h_px", "error",
  "model", "model_version", "weights_sha256", "operating_point", "analysis_id", "note",
];

export function csvCell(value) {
  const text = String(value ?? "");
  // A quote or blank before the sign does not stop every spreadsheet from running it.
  const safe = typeof value === "string" && /^["'\s]*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function toCsv(analysis, _version, frames) {
  const passport = [
    analysis.model.name, analysis.model.version, analysis.model.sha256,
    analysis.operating_point, analysis.id, RESEARCH_USE,
  ];
  const lines = frames.flatMap((frame) => rowsOf(frame).map((row) => [...row, ...passport]));
  return [COLUMNS, ...lines].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

function rowsOf(frame) {
  const head = [frame.ordinal, frame.name, frame.sha256];
  if (frame.error) return [[...head, ...Array(12).fill(null), frame.error.code]];
  return frame.findings.map(({ label, code, probability, threshold, positive, evidence, cam }) => [
    ...head, label, code, probability, threshold, positive, evidence,
    ...(cam?.peak_xy ?? [null, null]), ...(cam?.box_xywh ?? [null, null, null, null]), null,
  ]);
}

export function toJson(analysis, version, frames, complete) {
  return JSON.stringify({ note: RESEARCH_USE, complete, analysis, model_version: version, frames }, null, 1);
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
