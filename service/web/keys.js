// The keyboard does everything the mouse does; typing into a field is left alone.

import { LABEL_ORDER } from "./labels.js";

export function listenToKeys({ reading, toggleHelp, isReading }) {
  const presses = {
    ArrowRight: () => reading.step(1),
    ArrowLeft: () => reading.step(-1),
    Home: () => reading.step(-Infinity),
    End: () => reading.step(Infinity),
    h: () => reading.holdMap(true),
    o: () => reading.toggleMarks(),
    0: () => reading.filter("all"),
    ...Object.fromEntries(LABEL_ORDER.map((label, place) => [place + 1, () => reading.filter(label)])),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select")) return;
    if (event.key === "?") return toggleHelp();
    const act = isReading() && presses[named(event.key)];
    if (!act) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) act();
  });
  addEventListener("keyup", (event) => named(event.key) === "h" && reading.holdMap(false));
  addEventListener("blur", () => reading.holdMap(false));
}

const named = (key) => (key.length === 1 ? key.toLowerCase() : key);
