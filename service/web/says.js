// The one sentence at the top, and what is wrong just now with what to do about it.

import { byId, h } from "./dom.js";
import { RESEARCH_USE, TEXT, TRY_AGAIN, WHAT_TO_DO } from "./strings.js";

export function tell(sentence) {
  byId("state").textContent = sentence;
  document.title = `${sentence} Enteron. ${RESEARCH_USE}`;
}

/** Show a problem, or null for none; `retryInS` when the page goes on by itself. */
export function showTrouble(problem, retryInS = null) {
  const box = byId("trouble");
  box.hidden = problem === null;
  byId("link-state").textContent = retryInS === null ? "" : "not connected";
  if (problem === null) return;
  const next = retryInS === null ? advice(problem) : `${advice(problem)} ${TEXT.reconnect(Math.ceil(retryInS))}`;
  box.replaceChildren(h("strong", {}, problem.title ?? "Something went wrong."), " ", next);
}

export function advice({ code }) {
  return WHAT_TO_DO[code] ?? TRY_AGAIN;
}
