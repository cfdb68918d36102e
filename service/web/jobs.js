// Following a job to its end: by its events, by polling where they fail.

import { pause } from "./retry.js";

const MAX_STREAM_FAILURES = 3;
const FINAL = new Set(["succeeded", "failed", "cancelled"]);

export const isFinal = (job) => FINAL.has(job.state);

let awaited = null;

/** Somebody waits for this job: its reading opens even if it ends before the page first looks. */
export const goTo = (id) => {
  awaited = id;
  return `#/jobs/${id}`;
};

/** Whether somebody waits for this job; asked once. */
export function isAwaited(id) {
  const yes = awaited === id;
  awaited = null;
  return yes;
}

/** Yield {job}, {progress} (the fields that changed) and {message} until the job is final. */
export async function* follow(api, id, signal) {
  let lastId = null;
  for (let failures = 0; ; ) {
    const job = await api.job(id, signal);
    yield { job };
    if (isFinal(job)) return;
    if (failures < MAX_STREAM_FAILURES) {
      try {
        for await (const event of api.events(id, lastId, signal)) {
          lastId = event.id ?? lastId;
          if (event.type === "end") return yield { job: event.data };
          yield { [event.type]: event.data };
        }
      } catch (error) {
        if (signal.aborted) throw error;
        failures++;
      }
    }
    await pause(failures ? 1000 : 200, signal);
  }
}
