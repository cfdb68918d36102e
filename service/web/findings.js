// Questions asked of a frame as the API describes it.

import { inOrder } from "./labels.js";

/** Findings in the fixed order of their labels. */
export function findingsOf({ findings = [] }) {
  return inOrder(findings.map(({ label }) => label)).map((label) => findings.find((each) => each.label === label));
}

export const positivesOf = (frame) => findingsOf(frame).filter(({ positive }) => positive);

export const isPositive = (frame) => positivesOf(frame).length > 0;

export const shows = (frame, label) => positivesOf(frame).some((finding) => finding.label === label);

export function strongest(findings) {
  return findings.reduce((best, next) => (best === null || next.probability > best.probability ? next : best), null);
}
