// What was found in the selected frame, label by label in their fixed order, and with what.

import { byId, h } from "./dom.js";
import { findingsOf } from "./findings.js";
import { bytes, percent, shortHash } from "./format.js";
import { LABEL_OFF, look, mark } from "./labels.js";
import { passportRows } from "./passport.js";
import { EVIDENCE, FRAME_ERRORS, QUALITY, TEXT } from "./strings.js";

export class Card {
  #onLabel;

  constructor(onLabel) {
    this.#onLabel = onLabel;
  }

  empty() {
    for (const id of ["card-title", "findings", "frame-facts", "passport"]) byId(id).replaceChildren();
  }

  showPassport(analysis, version, papers) {
    byId("passport").replaceChildren(...rows(passportRows(analysis, version, papers)));
  }

  show(frame) {
    byId("card-title").textContent = `Frame ${frame.ordinal + 1}`;
    const lines = frame.error ? [refused(frame.error)] : findingsOf(frame).map((finding) => this.#finding(finding));
    byId("findings").replaceChildren(...lines);
    byId("frame-facts").replaceChildren(...rows(factsOf(frame)));
  }

  #finding(finding) {
    const { label, code, probability, positive, threshold, evidence } = finding;
    const name = h("span", { class: "finding-name" }, label, positive ? null : h("span", { class: "quiet" }, TEXT.belowThreshold));
    const props = positive && finding.cam ? { onclick: () => this.#onLabel(label), title: `Show the map of ${label}` } : { disabled: true };
    return h(
      "li",
      { class: positive ? `finding ${look(label).colour}` : "finding negative" },
      h("button", { class: "finding-row", type: "button", ...props }, mark(label), name, h("b", {}, percent(probability))),
      meter(probability, threshold),
      h(
        "p",
        { class: "finding-foot" },
        h("span", {}, threshold < LABEL_OFF ? `threshold ${percent(threshold)}` : TEXT.labelOff),
        code ? h("code", { title: "code" }, code) : null,
        positive ? h("span", { class: `badge ${evidence}` }, EVIDENCE[evidence] ?? evidence) : null,
      ),
    );
  }
}

/** A line for 0 to 100 %, filled to the probability, ticked at the threshold. */
function meter(probability, threshold) {
  const bar = h("span", { class: "meter", "aria-hidden": "true" }, h("span", { class: "meter-fill" }), h("span", { class: "meter-tick" }));
  bar.style.setProperty("--value", probability);
  bar.style.setProperty("--threshold", threshold);
  return bar;
}

function refused({ code, detail }) {
  return h("li", { class: "finding bad" }, h("p", {}, FRAME_ERRORS[code] ?? detail ?? code), h("p", { class: "hint" }, "The other frames are not affected. Reason: ", h("code", {}, code)));
}

function factsOf(frame) {
  const flags = (frame.quality?.flags ?? []).map((flag) => QUALITY[flag] ?? flag);
  return {
    Name: frame.name,
    Size: [frame.width ? `${frame.width} × ${frame.height} px` : null, bytes(frame.size)].filter(Boolean).join(", "),
    Quality: frame.quality ? flags.join(", ") || TEXT.noFlags : TEXT.notMeasured,
    "SHA-256": h("code", { title: frame.sha256 }, shortHash(frame.sha256)),
  };
}

function rows(facts) {
  return Object.entries(facts).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
