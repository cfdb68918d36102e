// One job as it runs: a sentence, a bar, its facts and its log; then on to the reading.

import { announce, byId, h } from "./dom.js";
import { count, percent, seconds, when } from "./format.js";
import { follow, isAwaited, isFinal } from "./jobs.js";
import { advice, tell } from "./says.js";
import { LOG, STATES, TEXT } from "./strings.js";

export class JobScreen {
  #api = null;
  #id = null;

  constructor() {
    byId("job-cancel").addEventListener("click", () => this.#cancel());
  }

  async open(api, id, signal) {
    this.#api = api;
    this.#id = id;
    empty();
    let job = null;
    let watched = isAwaited(id);
    for await (const news of follow(api, id, signal)) {
      if (news.message) logLine(news.message);
      if (news.job) job = news.job;
      if (news.progress) job = { ...job, ...news.progress };
      watched ||= !isFinal(job);
      this.#show(job);
    }
    announce(byId("state").textContent);
    if (watched && readingOf(job)) location.replace(readingOf(job));
  }

  #show(job) {
    tell(sentence(job));
    showBar(job);
    byId("job-error").textContent = job.error ? `${job.error.title} ${job.error.detail ?? ""}` : "";
    byId("job-advice").textContent = job.error ? advice(job.error) : "";
    byId("job-facts").replaceChildren(...facts(job));
    byId("job-cancel").hidden = isFinal(job);
    byId("job-open").hidden = readingOf(job) === null;
    byId("job-open").href = readingOf(job) ?? "";
  }

  async #cancel() {
    byId("job-cancel").disabled = true;
    try {
      this.#show(await this.#api.cancel(this.#id));
    } finally {
      byId("job-cancel").disabled = false;
    }
  }
}

/** Of the job before: it must not stand there while this one is fetched. */
function empty() {
  tell(TEXT.loading);
  for (const id of ["job-log", "job-facts", "job-error", "job-advice"]) byId(id).replaceChildren();
  byId("job-cancel").hidden = byId("job-open").hidden = true;
}

const readingOf = ({ state, result }) =>
  state === "succeeded" && result?.analysis_id ? `#/analyses/${result.analysis_id}` : null;

function sentence({ state, progress }) {
  if (state === "queued") return TEXT.queuedState;
  if (state === "cancelled") return TEXT.cancelledState;
  if (state === "failed") return TEXT.failedState;
  if (state === "succeeded") return "The job is done.";
  const { done, total, unit, eta_s: etaS } = progress ?? {};
  const part = total ? `${count(done)} of ${count(total)} ${unit ?? ""}`.trim() : "begun";
  return TEXT.workingState(part, etaS ? `; about ${seconds(etaS)} left` : "");
}

/** Without a known share the bar runs free instead of claiming zero. */
function showBar({ state, progress }) {
  const bar = byId("job-bar");
  bar.hidden = state === "failed" || state === "cancelled";
  const share = state === "succeeded" ? 1 : progress?.fraction;
  if (typeof share === "number") {
    bar.value = share;
    if (Math.floor(share * 4) > Number(bar.dataset.said ?? 0)) announce(`${percent(share)} read`);
    bar.dataset.said = Math.floor(share * 4);
  } else bar.removeAttribute("value");
}

function facts(job) {
  const rows = {
    Job: h("code", {}, job.id),
    State: job.cancel_requested && !isFinal(job) ? TEXT.cancelling : STATES[job.state],
    ...(job.progress?.message ? { Step: job.progress.message } : {}),
    Queue: job.queue,
    Attempts: count(job.attempts ?? 0),
    Submitted: when(job.created_at),
    Begun: when(job.started_at),
    Ended: when(job.finished_at),
  };
  return Object.entries(rows).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

function logLine({ at, code, message, numbers = {} }) {
  // A count of zero failures is no news, and reads like one.
  const values = Object.entries(numbers).filter(([, value]) => value !== 0).map(([name, value]) => `${name} ${value}`);
  const words = message ?? LOG[code] ?? code.replaceAll(/[._]/g, " ");
  byId("job-log").append(h("li", {}, h("time", {}, at ? when(at).slice(11) : ""), [words, ...values].join(", ")));
}
