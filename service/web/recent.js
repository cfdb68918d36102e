// The last analyses, to open again.

import { byId, h } from "./dom.js";
import { count, plural, when } from "./format.js";
import { inOrder, mark } from "./labels.js";
import { STATES, TEXT } from "./strings.js";

const SHOWN = 12;

export async function showRecent(api, signal) {
  const { items } = await api.analyses(SHOWN);
  if (signal.aborted) return;
  byId("recent").replaceChildren(...(items.length ? items.map(row) : [h("li", { class: "quiet" }, TEXT.noRecent)]));
}

function row(job) {
  const result = job.state === "succeeded" ? job.result : null;
  const address = result ? `#/analyses/${result.analysis_id}` : `#/jobs/${job.id}`;
  const found = inOrder(Object.keys(result?.positives ?? {})).filter((label) => result.positives[label] > 0);
  return h(
    "li",
    {},
    h("a", { href: address }, when(job.created_at)),
    h("span", {}, result ? plural(result.frame_count, "frame", "frames") : STATES[job.state]),
    h("span", { class: "marks" }, found.map((label) => [mark(label), count(result.positives[label])]).flat()),
  );
}
