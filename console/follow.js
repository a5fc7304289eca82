// Live news of memories that are being made. A browser opens six connections to one server, so only a few memories are
// followed at a time, those whose turn comes first; the list shows the others when it is read again.

import { call, events, Refused } from "./api.js";

const AT_ONCE = 3;
const PAUSE_MS = 2000;
const followed = new Set();

/** Follow the memories that are next, as many as may be; `ended` is called with the id of one that is over. */
export function follow(open, hear, ended) {
  const waiting = open.filter(({ id }) => !followed.has(id));
  waiting.sort((one, other) => turn(one) - turn(other) || (one.id < other.id ? -1 : 1));
  for (const entry of waiting.slice(0, Math.max(0, AT_ONCE - followed.size))) {
    followed.add(entry.id);
    listen(entry, hear).finally(() => {
      followed.delete(entry.id);
      ended(entry.id);
    });
  }
}

const turn = (entry) => (entry.memory.status === "queued" ? 1 : 0);

/** Pass on a memory's events until the gateway ends them; after a break, from the one heard last. */
async function listen(entry, hear) {
  while (entry.item.isConnected) {
    try {
      const headers = entry.heard ? { "Last-Event-ID": entry.heard } : {};
      const response = await call(`/v1/memories/${encodeURIComponent(entry.id)}/events`, { headers });
      for await (const { id, event, data } of events(response)) {
        if (!entry.item.isConnected) return;
        entry.heard = id || entry.heard;
        hear(entry, event, JSON.parse(data));
      }
      return;
    } catch (error) {
      if (error instanceof Refused && error.status >= 400 && error.status < 500) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
