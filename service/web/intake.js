// Choosing frames and a model, and sending them.

import { newKey } from "./api.js";
import { byId, h, icon } from "./dom.js";
import { filesOf, kindOf } from "./dropped.js";
import { bytes, percent, plural } from "./format.js";
import { goTo } from "./jobs.js";
import { ModelChoice } from "./models.js";
import { showRecent } from "./recent.js";
import { advice, tell } from "./says.js";
import { TEXT } from "./strings.js";
import { Problem } from "./problems.js";

const MAX_PARTS = 1000;
const MAX_BYTES = 64e6; // the service takes 64 MiB with the form around them

export class Intake {
  mayRead = true;
  #api = null;
  #chosen = []; // {file, kind, preview}
  #sending = null; // AbortController while frames go up
  #sendKey = null; // one idempotency key per choice of frames and model
  #model = new ModelChoice(() => this.#changed());

  constructor() {
    const drop = byId("drop");
    for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => this.#hover(event, true));
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => this.#hover(event, false));
    drop.addEventListener("drop", async (event) => this.#add(await filesOf(event.dataTransfer)));
    byId("files").addEventListener("change", ({ target }) => {
      this.#add([...target.files]);
      target.value = ""; // the same file may be chosen again
    });
    byId("intake").addEventListener("submit", (event) => this.#send(event));
    byId("clear").addEventListener("click", () => this.clear());
    byId("upload-stop").addEventListener("click", () => this.#sending?.abort());
  }

  async open(api, signal) {
    this.#api = api;
    this.#changed();
    await Promise.all([this.#model.load(api), showRecent(api, signal)]);
  }

  clear() {
    for (const { preview } of this.#chosen) if (preview) URL.revokeObjectURL(preview);
    this.#chosen = [];
    byId("tray").replaceChildren();
    this.#changed();
  }

  #hover(event, over) {
    event.preventDefault();
    byId("drop").classList.toggle("over", over);
  }

  async #add(files) {
    for (const file of files) {
      const kind = await kindOf(file);
      const preview = kind === "JPEG" || kind === "PNG" ? URL.createObjectURL(file) : null;
      const entry = { file, kind, preview };
      this.#chosen.push(entry);
      byId("tray").append(this.#cell(entry));
    }
    this.#changed();
  }

  #cell(entry) {
    const { file, kind, preview } = entry;
    const note = kind ? TEXT.shownAfter(kind) : TEXT.unreadFile;
    const picture = preview
      ? h("img", { src: preview, alt: "", loading: "lazy", decoding: "async" })
      : h("span", { class: kind ? "unshown" : "unshown bad" }, note);
    const cell = h(
      "li",
      {},
      h("span", { class: "thumb on-black" }, picture),
      h("span", { class: "tray-name", title: file.name }, file.name),
      h("span", { class: "quiet" }, bytes(file.size)),
      h("button", { class: "plain remove", type: "button", "aria-label": `Remove ${file.name}`, onclick: () => this.#remove(entry, cell) }, icon("out")),
    );
    return cell;
  }

  #remove(entry, cell) {
    if (entry.preview) URL.revokeObjectURL(entry.preview);
    this.#chosen = this.#chosen.filter((other) => other !== entry);
    cell.remove();
    this.#changed();
  }

  #changed() {
    this.#sendKey = null;
    const n = this.#chosen.length;
    const total = this.#chosen.reduce((sum, { file }) => sum + file.size, 0);
    const refusal = this.#refusal(n, total);
    byId("drop").classList.toggle("filled", n > 0);
    byId("clear").hidden = n === 0;
    byId("read").disabled = n === 0 || refusal !== null || this.#sending !== null;
    byId("intake-error").textContent = refusal ?? "";
    const chosen = `${plural(n, "file", "files")} chosen, ${bytes(total)}`;
    tell(n === 0 ? TEXT.intakeState : `${chosen}; to be read with ${this.#model.sentence}.`);
  }

  #refusal(n, total) {
    if (!this.mayRead) return TEXT.notARole;
    if (n > MAX_PARTS) return TEXT.tooManyParts;
    if (total > MAX_BYTES) return TEXT.tooManyBytes;
    return this.#model.refusal;
  }

  async #send(event) {
    event.preventDefault();
    if (byId("read").disabled) return;
    this.#sendKey ??= newKey(); // a repeat after a lost answer finds the same job
    const key = this.#sendKey;
    this.#begin();
    try {
      const job = await this.#api.analyse(this.#form(), key, { onShare: showShare, signal: this.#sending.signal });
      this.#end();
      this.clear();
      location.hash = goTo(job.id);
    } catch (error) {
      this.#end();
      this.#sendKey = key;
      if (error instanceof Problem) byId("intake-error").textContent = `${error.message} ${advice(error)}`;
      else if (error.name !== "AbortError") throw error;
    }
  }

  #form() {
    const form = new FormData();
    form.append("model", this.#model.chosen);
    form.append("operating_point", this.#model.point);
    for (const { file } of this.#chosen) form.append("frames", file, file.name);
    return form;
  }

  #begin() {
    this.#sending = new AbortController();
    byId("intake-error").textContent = "";
    byId("upload").hidden = false;
    byId("read").disabled = true;
    showShare(0);
  }

  #end() {
    this.#sending = null;
    byId("upload").hidden = true;
    this.#changed();
  }
}

function showShare(share) {
  byId("upload-bar").value = share;
  tell(TEXT.uploading(percent(share)));
}
