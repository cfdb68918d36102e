// Questions asked of a frame as the API describes it.

import { inOrder } from "./labels.js";

/** Findings in the fixed order of their labels. */
export function findingsOf({ findings = [] }) {
  return inOrder(findings.map(({ label }) => label)).map((label) => findings.find((each) => each.label === label));
}

export const positivesOf = (frame) => findingsOf(frame).filter(({ positive }) => positive);

export const isPositive = (frame) => positivesOf(frame).length > 0;

export const shows = (frame, label) => positivesOf(frame).some((finding) => finding.label === label);

const FAINT = 0.05; // a tenth of the ramp, too thin a colour to be seen on tissue

/** Whether no place of a finding's heat map shows a colour that an eye could see. */
export const isFaint = ({ cam }) => Math.max(...cam.grid.flat()) < Math.max(FAINT, cam.floor);

export function strongest(findings) {
  return findings.reduce((best, next) => (best === null || next.probability > best.probability ? next : best), null);
}
