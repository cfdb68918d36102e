// Repeat what may pass: a lost connection, 429 and 503, after the time the service asks for.

import { Problem } from "./problems.js";

const PASSING = new Set([429, 502, 503, 504]);
const MAX_TRIES = 6;

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** `watcher.trouble` hears {problem, retryInS}, then null when all is well again; `watcher.refused` a bad key. */
export async function retried(call, watcher, signal) {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await call();
      watcher.trouble(null);
      return answer;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401) watcher.refused();
      const passing = problem.code === "offline" || PASSING.has(problem.status);
      if (!passing || tries === MAX_TRIES) throw problem;
      const retryInS = problem.retryAfterS ?? 2 ** (tries - 1);
      watcher.trouble({ problem, retryInS });
      await pause(retryInS * 1000, signal);
    }
  }
}
