// What the service says no with (RFC 9457), and a lost connection in the same form.

export class Problem extends Error {
  constructor({ code, status, title, detail, retryAfterS }) {
    super(detail || title || code);
    Object.assign(this, { code, status, title, detail, retryAfterS });
  }
}

export const offline = (title = "No connection to the service.") => new Problem({ code: "offline", title });

export async function problemOf(response) {
  return problemFrom(response.status, await response.text(), (name) => response.headers.get(name));
}

export function problemFrom(status, body, header) {
  const retryAfterS = Number.parseFloat(header("Retry-After")) || undefined;
  try {
    const { code = "internal_error", title, detail, errors = [] } = JSON.parse(body);
    const places = errors.map((error) => `${error.pointer}: ${error.detail}`).join("; ");
    return new Problem({ code, status, title, detail: [detail, places].filter(Boolean).join(" "), retryAfterS });
  } catch {
    return new Problem({ code: "internal_error", status, title: `The service answered ${status}.`, retryAfterS });
  }
}
