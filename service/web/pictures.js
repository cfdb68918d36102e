// Pictures need the key, so they are fetched and shown as blobs; the least recently used are let go.

const KEPT = 600;

export class Pictures {
  #api;
  #urls = new Map(); // address -> promise of a blob URL, oldest use first
  #ended = new AbortController();

  constructor(api) {
    this.#api = api;
  }

  url(address) {
    const known = this.#urls.get(address) ?? this.#fetch(address);
    this.#urls.delete(address);
    this.#urls.set(address, known);
    if (this.#urls.size > KEPT) this.#letGo(this.#urls.keys().next().value);
    return known;
  }

  /** Nothing of a patient stays in memory after signing out or opening another reading. */
  end() {
    this.#ended.abort();
    for (const address of [...this.#urls.keys()]) this.#letGo(address);
  }

  #fetch(address) {
    const url = this.#api.blob(address, this.#ended.signal).then((blob) => URL.createObjectURL(blob));
    url.catch(() => this.#urls.delete(address)); // a failed picture may be asked for again
    return url;
  }

  #letGo(address) {
    const url = this.#urls.get(address);
    this.#urls.delete(address);
    url.then(URL.revokeObjectURL, () => undefined);
  }
}
