// Numbers as LOOK.md wants them: comparable, with units, without false digits.

const THIN = "\u202f";

export function percent(share) {
  if (share > 0 && share < 0.005) return `<${THIN}1${THIN}%`;
  if (share < 1 && share >= 0.995) return `>${THIN}99${THIN}%`;
  return `${Math.round(share * 100)}${THIN}%`;
}

export const count = (n) => n.toLocaleString("en");

export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${Math.round(n / 1e3)} kB`;
  return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
}

export function seconds(s) {
  if (s < 90) return `${Math.max(1, Math.round(s))} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

export function when(iso) {
  return iso ? new Date(iso).toLocaleString("sv").slice(0, 16) : "not yet";
}

export const shortHash = (sha256) => `${sha256.slice(0, 12)}…`;

/** One sentence that says what an analysis holds. */
export function summary({ frames, positive, unreadable, complete }) {
  const findings = complete ? `${count(positive)} with findings` : `${count(positive)} with findings so far`;
  return `${plural(frames, "frame", "frames")}, ${findings}, ${count(unreadable)} unreadable.`;
}
