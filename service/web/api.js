// The public API and nothing else. The key lives in this object's memory and leaves with it.

import { offline, problemFrom, problemOf } from "./problems.js";
import { retried } from "./retry.js";
import { eventsOf } from "./stream.js";

export class Api {
  #key;
  #watcher;
  #base = new URL("api/v1/", document.baseURI);

  constructor(key, watcher) {
    this.#key = key;
    this.#watcher = watcher;
  }

  me = () => this.#json("me");
  models = () => this.#all("models");
  version = (name, version) => this.#json(`models/${encodeURIComponent(name)}/versions/${version}`);
  analyses = (limit) => this.#json(`jobs?kind=analysis&limit=${limit}`);
  job = (id, signal) => this.#json(`jobs/${id}`, { signal });
  cancel = (id) => this.#json(`jobs/${id}/cancel`, { method: "POST", headers: { "Idempotency-Key": newKey() } });
  analysis = (id, signal) => this.#json(`analyses/${id}`, { signal });
  frames = (id, signal) => this.#pages(`analyses/${id}/frames?limit=200`, signal);

  async *events(jobId, lastId, signal) {
    const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
    const response = await this.#fetch(`jobs/${jobId}/events`, { headers, signal });
    if (!response.ok) throw await problemOf(response);
    yield* eventsOf(response.body);
  }

  async blob(address, signal) {
    return (await this.#get(address, { signal })).blob();
  }

  /** Send frames; the same idempotency key may be sent again safely. `onShare` hears the share uploaded. */
  analyse(form, idempotencyKey, { onShare, signal }) {
    return retried(() => this.#upload("analyses", form, { idempotencyKey, onShare, signal }), this.#watcher, signal);
  }

  async #json(path, options) {
    return (await this.#get(path, options)).json();
  }

  #get(path, options = {}) {
    const call = async () => {
      const response = await this.#fetch(path, options);
      if (!response.ok) throw await problemOf(response);
      return response;
    };
    return retried(call, this.#watcher, options.signal);
  }

  async *#pages(path, signal) {
    const join = path.includes("?") ? "&" : "?";
    let cursor = null;
    do {
      const next = cursor ? `${join}cursor=${encodeURIComponent(cursor)}` : "";
      const page = await this.#json(path + next, { signal });
      yield page.items;
      cursor = page.next_cursor;
    } while (cursor);
  }

  async #all(path) {
    const items = [];
    for await (const page of this.#pages(path)) items.push(...page);
    return items;
  }

  async #fetch(path, { method = "GET", headers = {}, signal } = {}) {
    try {
      return await fetch(this.#address(path), {
        method,
        signal,
        headers: { Authorization: `Bearer ${this.#key}`, ...headers },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      throw signal?.aborted ? error : offline();
    }
  }

  /** XMLHttpRequest, because `fetch` does not tell how much has been sent. */
  #upload(path, form, { idempotencyKey, onShare, signal }) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.#address(path));
      request.setRequestHeader("Authorization", `Bearer ${this.#key}`);
      request.setRequestHeader("Idempotency-Key", idempotencyKey);
      request.upload.onprogress = ({ loaded, total }) => onShare(total ? loaded / total : 0);
      request.onerror = () => reject(offline());
      request.onabort = () => reject(signal.reason);
      request.onload = () => {
        const { status, responseText } = request;
        if (status < 300) resolve(JSON.parse(responseText));
        else reject(problemFrom(status, responseText, (name) => request.getResponseHeader(name)));
      };
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  /** Links of the API begin at its own root: the page's path prefix goes before them. */
  #address(path) {
    return new URL(path.replace(/^.*\/api\/v1\//, ""), this.#base);
  }
}

/** crypto.randomUUID is missing on plain http, getRandomValues is not. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
