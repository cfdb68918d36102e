// A version's report and card as files: pages of their own, which open outside this one.

import { h } from "./dom.js";
import { download } from "./export.js";
import { Problem } from "./problems.js";
import { showTrouble } from "./says.js";

const PAGES = { report: "evaluation", card: "card" };

export function paperButtons(api, version) {
  const button = ([paper, page]) => h("button", { type: "button", onclick: () => save(api, version, paper, page) }, `Save ${paper}`);
  return h("span", { class: "row" }, Object.entries(PAGES).map(button));
}

async function save(api, { name, version }, paper, page) {
  try {
    const blob = await api.blob(`models/${encodeURIComponent(name)}/versions/${version}/${page}?format=html`);
    download(`${name}-${version}-${paper}.html`, "text/html", await blob.text());
    showTrouble(null);
  } catch (error) {
    showTrouble(error);
    if (!(error instanceof Problem)) throw error;
  }
}
