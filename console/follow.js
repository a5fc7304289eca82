// Live news of the memory whose turn it is. A browser opens six connections to one server, all its tabs together: a
// tab that is seen follows one memory, one that is hidden none. The list shows the others when it is read again.

import { call, events, Refused } from "./api.js";

const PAUSE_MS = 2000;
let followed = null; // {entry, stop}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) leave();
});

/** Follow the memory that is next, in place of one that is gone or only waits.
 *
 * `ended` is called with the id of one that is over.
 */
export function follow(open, hear, ended) {
  const [first] = open.sort((one, other) => turn(one) - turn(other) || (one.id < other.id ? -1 : 1));
  if (document.hidden || !first || keeps(first)) return;
  leave();
  const stop = new AbortController();
  followed = { entry: first, stop };
  listen(first, hear, stop.signal).finally(() => {
    if (stop.signal.aborted) return;
    followed = null;
    ended(first.id);
  });
}

const turn = ({ memory }) => (memory.status === "queued" ? 1 : 0);

/** Whether the memory that is followed keeps its place from another. */
const keeps = (other) => followed?.entry.item.isConnected && turn(followed.entry) <= turn(other);

function leave() {
  followed?.stop.abort();
  followed = null;
}

/** Pass on a memory's events until the gateway ends them; after a break, from the one heard last. */
async function listen(entry, hear, signal) {
  while (entry.item.isConnected && !signal.aborted) {
    try {
      const headers = entry.heard ? { "Last-Event-ID": entry.heard } : {};
      const response = await call(`/v1/memories/${encodeURIComponent(entry.id)}/events`, { headers, signal });
      for await (const { id, event, data } of events(response)) {
        if (!entry.item.isConnected) return;
        entry.heard = id || entry.heard;
        hear(entry, event, JSON.parse(data));
      }
      return;
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && error.status >= 400 && error.status < 500)) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
