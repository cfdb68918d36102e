// The selected frame, large on black, with corner brackets and, while held, the heat map above it.

import { byId, svg } from "./dom.js";
import { isFaint, positivesOf, strongest } from "./findings.js";
import { count, percent } from "./format.js";
import { look } from "./labels.js";
import { mapQuality } from "./passport.js";
import { FRAME_ERRORS, TEXT } from "./strings.js";

const WHEEL_REST_MS = 60; // a trackpad sends dozens of wheel events for one push

export class Stage {
  #pictures = null;
  #frame = null;
  #label = null; // whose map is shown
  #version = null; // whose measured quality decides about its maps
  #held = false;
  #pinned = false;
  #marks = true;

  constructor(onStep) {
    byId("previous").addEventListener("click", () => onStep(-1));
    byId("next").addEventListener("click", () => onStep(1));
    byId("toggle-marks").addEventListener("click", () => this.toggleMarks());
    byId("toggle-map").addEventListener("click", () => this.#pin(!this.#pinned));
    byId("picture").addEventListener("wheel", wheelSteps(onStep), { passive: false });
  }

  empty(pictures) {
    this.#pictures = pictures;
    this.#frame = null;
    byId("frame").removeAttribute("src");
    byId("marks").replaceChildren();
    byId("picture-note").textContent = "";
    byId("position").textContent = "";
    this.#pin(false);
  }

  useVersion(version) {
    this.#version = version;
  }

  async show(frame) {
    this.#frame = frame;
    const found = positivesOf(frame);
    if (!found.some(({ label }) => label === this.#label)) this.#label = strongest(found)?.label ?? null;
    byId("picture-note").textContent = frame.error ? `${TEXT.notRead}. ${FRAME_ERRORS[frame.error.code] ?? frame.error.detail}` : "";
    this.#drawMarks(found);
    this.#showMap();
    await this.#showPicture(frame);
  }

  showPlace({ index, of }) {
    byId("position").textContent = index < 0 ? "" : `${count(index + 1)} of ${count(of)}`;
  }

  choose(label) {
    this.#label = label;
    this.#showMap();
  }

  prefetch(frame) {
    if (frame.image_url) this.#pictures.url(frame.image_url).catch(() => undefined);
  }

  holdMap(held) {
    if (held === this.#held) return;
    this.#held = held;
    this.#showMap();
  }

  toggleMarks() {
    this.#marks = !this.#marks;
    byId("toggle-marks").setAttribute("aria-pressed", String(this.#marks));
    byId("marks").toggleAttribute("hidden", !this.#marks);
    this.#showMap();
  }

  #pin(pinned) {
    this.#pinned = pinned;
    byId("toggle-map").setAttribute("aria-pressed", String(pinned));
    this.#showMap();
  }

  async #showPicture(frame) {
    const image = byId("frame");
    image.alt = frame.error ? "" : `Frame ${frame.ordinal + 1}`;
    if (!frame.image_url) return image.removeAttribute("src");
    try {
      const url = await this.#pictures.url(frame.image_url);
      if (this.#frame === frame) image.src = url;
    } catch {
      if (this.#frame === frame) byId("picture-note").textContent = TEXT.pictureLost;
    }
  }

  async #showMap() {
    const finding = this.#mapFinding();
    const map = byId("map");
    byId("toggle-map").disabled = finding === null;
    byId("map-note").textContent = this.#mapNote();
    const wanted = finding !== null && this.#marks && (this.#held || this.#pinned);
    byId("scale").dataset.on = wanted;
    byId("scale").style.setProperty("--floor", finding?.cam.floor ?? 0);
    byId("scale-words").textContent = finding ? TEXT.mapScale(finding.label, finding.cam.kind) : "";
    byId("scale-end").textContent = TEXT.mapScaleEnd(finding?.cam.kind);
    map.hidden = true; // never the map of one frame above another
    if (!wanted) return;
    try {
      const url = await this.#pictures.url(finding.cam.overlay_url);
      if (finding !== this.#mapFinding() || !(this.#held || this.#pinned)) return;
      map.src = url;
      map.alt = `Heat map of ${finding.label}`;
      map.hidden = false;
    } catch {
      byId("map-note").textContent = TEXT.pictureLost;
    }
  }

  #mapFinding() {
    if (this.#frame === null || this.#label === null || mapQuality(this.#version, this.#label).hidden) return null;
    return positivesOf(this.#frame).find(({ label, cam }) => label === this.#label && cam) ?? null;
  }

  #mapNote() {
    if (this.#frame === null) return "";
    if (this.#frame.error) return TEXT.mapUnreadable;
    if (this.#label === null) return TEXT.mapNegative;
    const { note } = mapQuality(this.#version, this.#label);
    const finding = this.#mapFinding();
    return finding && isFaint(finding) ? `${TEXT.mapFaint(finding.label)} ${note}` : note;
  }

  #drawMarks(found) {
    const { width, height } = this.#frame;
    const marks = byId("marks");
    marks.setAttribute("viewBox", `0 0 ${width ?? 1} ${height ?? 1}`);
    // Box and peak are read off the map: where it is not to be trusted, neither are they.
    const placed = found.filter(({ label, cam }) => cam?.box_xywh && !mapQuality(this.#version, label).hidden);
    marks.replaceChildren(...placed.flatMap((finding) => bracket(finding, width)));
  }
}

/** Thin corners around the box, a cross at the peak, letter and probability above; drawn twice for a dark rim. */
function bracket({ label, probability, cam }, frameWidth) {
  const [x, y, w, hgt] = cam.box_xywh;
  const arm = Math.min(w, hgt) * 0.22;
  const [right, bottom] = [x + w, y + hgt];
  const corners = [
    `M${x} ${y + arm}V${y}H${x + arm}`,
    `M${right - arm} ${y}H${right}V${y + arm}`,
    `M${right} ${bottom - arm}V${bottom}H${right - arm}`,
    `M${x + arm} ${bottom}H${x}V${bottom - arm}`,
  ].join("");
  const size = frameWidth * 0.034;
  const below = y < size * 1.6; // no room above: the words go under the box
  const words = { x, y: below ? bottom + size * 1.2 : y - size * 0.45, "font-size": size };
  return [
    svg("path", { class: "rim", d: corners + cross(cam.peak_xy, size) }),
    svg("path", { class: look(label).colour, d: corners + cross(cam.peak_xy, size) }),
    svg("text", { class: look(label).colour, ...words }, `${look(label).letter} ${percent(probability)}`),
  ];
}

function cross(peak, size) {
  if (!peak) return "";
  const [x, y] = peak;
  const arm = size * 0.35;
  return `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`;
}

function wheelSteps(onStep) {
  let rested = 0;
  return (event) => {
    if (matchMedia("(max-width: 900px)").matches || event.ctrlKey) return; // there the wheel scrolls, or zooms
    event.preventDefault();
    if (event.timeStamp < rested || event.deltaY === 0) return;
    rested = event.timeStamp + WHEEL_REST_MS;
    onStep(Math.sign(event.deltaY));
  };
}
