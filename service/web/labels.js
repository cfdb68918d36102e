// Shape and letter with every colour. Hollow = to review: nothing here has been confirmed by a person.

import { svg } from "./dom.js";

const KNOWN = {
  polyp: { letter: "P", shape: "circle" },
  bleeding: { letter: "B", shape: "diamond" },
  inflammatory: { letter: "I", shape: "triangle" },
  content: { letter: "C", shape: "square" },
};

/** A threshold that turns its label off, whatever the probability. */
export const LABEL_OFF = 1;

export const LABEL_ORDER = Object.keys(KNOWN);

export function look(label) {
  const known = KNOWN[label];
  return known
    ? { ...known, colour: `c-${label}` }
    : { letter: (label[0] ?? "?").toUpperCase(), shape: "ring", colour: "c-other" };
}

/** Known labels in their fixed order, then any others by name. */
export function inOrder(labels) {
  const known = LABEL_ORDER.filter((label) => labels.includes(label));
  return [...known, ...labels.filter((label) => !KNOWN[label]).sort()];
}

const OUTLINES = {
  circle: ["circle", { cx: 10, cy: 10, r: 8.25 }],
  diamond: ["path", { d: "M10 .75 19.25 10 10 19.25.75 10Z" }],
  triangle: ["path", { d: "M10 .75 19.25 18H.75Z" }],
  square: ["rect", { x: 1.75, y: 1.75, width: 16.5, height: 16.5, rx: 1 }],
  ring: ["circle", { cx: 10, cy: 10, r: 8.25, "stroke-dasharray": "3 2" }],
};

export function mark(label) {
  const { letter, shape, colour } = look(label);
  const [tag, props] = OUTLINES[shape];
  const y = shape === "triangle" ? 15.5 : 13.75;
  return svg(
    "svg",
    { class: `mark ${colour}`, viewBox: "0 0 20 20", role: "img", "aria-label": label },
    svg(tag, props),
    svg("text", { x: 10, y, "text-anchor": "middle" }, letter),
  );
}
