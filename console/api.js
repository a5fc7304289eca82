// The gateway, as this page calls it. The key lives in this tab's session and goes nowhere else.

const KEY = "lorekeep-key";

export const key = () => sessionStorage.getItem(KEY);
export const keep = (value) => sessionStorage.setItem(KEY, value);
export const forget = () => sessionStorage.removeItem(KEY);

/** An answer that is an error; `message` is the gateway's own sentence. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Call the gateway; return the response once it is known to be good. */
export async function call(path, options = {}) {
  if (!/^[\x21-\x7e]+$/.test(key() ?? "")) throw new Refused(401, "A key has neither spaces nor accents.");
  const headers = { Authorization: `Bearer ${key()}`, ...options.headers };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Refused(0, "The gateway cannot be reached: is it still running?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Refused(response.status, body?.error?.message ?? `The gateway answered ${response.status}.`);
}

/** Call the gateway, with a JSON body where there is one; return the response. */
export function send(method, path, body) {
  if (body === undefined) return call(path, { method });
  return call(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** What is said of a stream that broke; the runtime's own word for it says nothing. */
export const brokeOff = () => new Error("The answer broke off: ask again.");

/** Yield the server-sent events of a response: {id, event, data}. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch(() => {
        throw brokeOff();
      });
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const found = read(block);
        if (found.data) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read(block) {
  const found = { id: "", event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = line.slice(0, colon);
    const text = line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") found.data += text;
    else if (field in found) found[field] = text;
  }
  return found;
}
