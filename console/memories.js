// The list of memories, each followed live while it is being made.

import { call, events, Refused, send } from "./api.js";

const OVER = new Set(["ready", "failed", "rejected", "cancelled"]);
const AGAIN = new Set(["failed", "rejected", "cancelled"]);
const list = document.querySelector("#memories");
const template = document.querySelector("#memory");
const more = document.querySelector("#more");
const followed = new Set();
let next = null;
let tell = () => {};
let changed = () => {};

/** Say where errors go, and who wants to know what is ready. */
export function connect(onError, onChange) {
  tell = onError;
  changed = onChange;
  more.addEventListener("click", () => load(next));
}

/** Read a page of memories; without `after`, the list from its beginning. */
export async function load(after = null) {
  const page = await send("GET", `/v1/memories?limit=24${after ? `&after=${encodeURIComponent(after)}` : ""}`);
  if (!after) list.replaceChildren();
  for (const memory of page.data) list.append(card(memory));
  next = page.next;
  more.hidden = !page.has_more;
  refresh();
}

/** Show a new memory first. */
export function add(memory) {
  list.prepend(card(memory));
  refresh();
}

/** The memories that can answer, newest first: [{id, name}]. */
export const serving = () =>
  [...list.children].filter((item) => item.dataset.version).map((item) => ({ id: item.dataset.id, name: item.dataset.name }));

function refresh() {
  document.querySelector("#none").hidden = list.children.length > 0;
  changed();
}

function card(memory) {
  const item = template.content.firstElementChild.cloneNode(true);
  const act = (name, run) =>
    item.querySelector(`.${name}`).addEventListener("click", async (event) => {
      event.target.disabled = true;
      await run().catch(tell);
      event.target.disabled = false;
    });
  act("cancel", async () => show(item, await send("POST", `/v1/memories/${memory.id}/cancel`)));
  act("retry", async () => show(item, await send("POST", `/v1/memories/${memory.id}/retry`, {})));
  act("delete", async () => {
    if (!confirm(`Delete ${item.dataset.name}? Its documents and weights are erased.`)) return;
    await call(`/v1/memories/${memory.id}`, { method: "DELETE" });
    item.remove();
    refresh();
  });
  show(item, memory);
  return item;
}

function show(item, memory) {
  item.dataset.id = memory.id;
  item.dataset.name = memory.name;
  item.dataset.version = memory.version ?? "";
  item.querySelector(".name").textContent = memory.name;
  item.querySelector(".id").textContent = memory.version ? `${memory.id} · v${memory.version}` : memory.id;
  state(item, memory.status);
  scores(item, memory.scores);
  if (memory.error) item.querySelector(".said").textContent = memory.error.message;
  if (!OVER.has(memory.status)) follow(item, memory.id);
}

function state(item, status) {
  item.className = status;
  item.querySelector(".status").textContent = status;
  item.querySelector("progress").hidden = OVER.has(status);
  if (!OVER.has(status)) item.querySelector("progress").removeAttribute("value");
  item.querySelector(".said").textContent = "";
  item.querySelector(".cancel").hidden = OVER.has(status);
  item.querySelector(".retry").hidden = !AGAIN.has(status);
}

function scores(item, found) {
  const known = found && found.questions > 0;
  item.querySelector(".scores").hidden = !known;
  for (const who of known ? ["adapter", "base"] : []) {
    const meter = item.querySelector(`meter.${who}`);
    meter.value = found[who];
    meter.nextElementSibling.textContent = `${Math.round(found[who] * 100)}%`;
  }
}

function advance(item, told) {
  const bar = item.querySelector("progress");
  const said = item.querySelector(".said");
  if (told.stage === "training") {
    bar.value = told.step / told.steps;
    said.textContent = `step ${told.step} of at most ${told.steps}, loss ${told.loss.toFixed(3)}, ${Math.ceil(told.eta_s)} s left at most`;
  } else if (told.total) {
    bar.value = told.done / told.total;
    said.textContent = `${told.done} of ${told.total} facts`;
  }
}

async function follow(item, id) {
  if (followed.has(id)) return;
  followed.add(id);
  let last = "";
  try {
    while (item.isConnected || !last) {
      const headers = last ? { "Last-Event-ID": last } : {};
      try {
        for await (const event of events(await call(`/v1/memories/${id}/events`, { headers }))) {
          last = event.id || last;
          const told = JSON.parse(event.data);
          if (event.event === "state") state(item, told.state);
          else advance(item, told);
        }
        break;
      } catch (error) {
        if (error instanceof Refused && error.status !== 0 && error.status < 500) throw error;
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
    followed.delete(id);
    if (item.isConnected) show(item, await send("GET", `/v1/memories/${id}`));
    changed();
  } catch (error) {
    if (item.isConnected) tell(error);
  } finally {
    followed.delete(id);
  }
}
