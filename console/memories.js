// The list of memories: read, kept up to date, acted on.

import { Refused, send } from "./api.js";
import { advance, draw, drawState, OVER } from "./card.js";
import { follow } from "./follow.js";

const PAGE = 50;
const MOST = 100; // that one call lists
const AGAIN_MS = 10_000;
const ENDED = { ready: "is ready", failed: "failed", rejected: "was rejected", cancelled: "was cancelled" };
const list = document.querySelector("#memories");
const template = document.querySelector("#memory");
const more = document.querySelector("#more");
const entries = new Map(); // id -> {id, item, memory, heard}
let acts = 0; // of the user: a reading that one of them overtook shows what no longer is
let page = {};

/** Say who hears of errors, of a gateway that is away or answers again, of what is over, and of what can answer now. */
export function connect(listeners) {
  page = listeners;
  more.addEventListener("click", () => load(PAGE).catch(page.away));
  setInterval(refresh, AGAIN_MS);
  document.addEventListener("visibilitychange", refresh);
}

/** Read as many of the newest memories as are shown, or more; those that are gone disappear. */
export async function load(further = 0) {
  const known = [...entries.keys()];
  const { data, has_more } = await current(further);
  for (const memory of data) put(memory);
  const oldest = has_more ? data.at(-1).id : "";
  const there = new Set(data.map(({ id }) => id));
  for (const id of known) if (id >= oldest && !there.has(id)) drop(id);
  more.hidden = !has_more;
  settle();
}

/** Show a memory, new or changed. */
export function add(memory) {
  acts += 1;
  put(memory);
  settle();
}

/** The memories that can answer, newest first. */
export const serving = () => newestFirst().map(({ memory }) => memory).filter(({ version }) => version);

/** Read the list; again where the user has changed it meanwhile. */
async function current(further) {
  for (;;) {
    const began = acts;
    const found = await read(Math.max(PAGE, entries.size + further));
    if (began === acts) return found;
  }
}

/** Read the newest memories, in as many calls as that takes. */
async function read(count) {
  const all = [];
  for (let rest = ""; ; ) {
    const limit = Math.min(MOST, count - all.length);
    const { data, has_more, next } = await (await send("GET", `/v1/memories?limit=${limit}${rest}`)).json();
    all.push(...data);
    if (!next || all.length >= count) return { data: all, has_more };
    rest = `&after=${encodeURIComponent(next)}`;
  }
}

const newestFirst = () => [...entries.values()].sort((one, other) => (one.id < other.id ? 1 : -1));

async function refresh() {
  if (document.hidden || list.closest("[hidden]")) return;
  await load().then(page.well, page.away);
}

function put(memory) {
  let entry = entries.get(memory.id);
  if (!entry) {
    entry = { id: memory.id, item: template.content.firstElementChild.cloneNode(true), memory, heard: "" };
    entries.set(memory.id, entry);
    bind(entry);
    const sorted = newestFirst();
    list.insertBefore(entry.item, sorted[sorted.indexOf(entry) + 1]?.item ?? null);
  }
  entry.memory = memory;
  draw(entry.item, memory);
}

function drop(id) {
  entries.get(id)?.item.remove();
  entries.delete(id);
}

function settle() {
  document.querySelector("#none").hidden = entries.size > 0;
  page.changed();
  follow([...entries.values()].filter(({ memory }) => !OVER.has(memory.status)), hear, ended);
}

/** Draw an event; those of versions before the newest are old news, and an end is read in full afterwards. */
function hear(entry, event, told) {
  if (told.version < entry.memory.latest) return;
  if (event === "progress") advance(entry.item, told);
  else if (!OVER.has(told.state)) drawState(entry.item, told.state);
}

/** Read a memory again whose events have ended. */
async function ended(id) {
  if (!entries.has(id)) return;
  try {
    const memory = await (await send("GET", path(id))).json();
    if (!entries.has(id)) return; // deleted meanwhile
    put(memory);
    if (!OVER.has(memory.status)) return; // broken off: the next reading of the list follows it again
    settle();
    page.told(`${memory.name} ${ENDED[memory.status]}.`);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) return page.away(error);
    drop(id);
    settle();
  }
}

const path = (id) => `/v1/memories/${encodeURIComponent(id)}`;

function bind({ id, item }) {
  const act = (name, run) =>
    item.querySelector(`.${name}`).addEventListener("click", async ({ currentTarget: button }) => {
      button.disabled = true;
      await run().catch(page.failed);
      button.disabled = false;
      const next = button.hidden ? item.querySelector("button:not([hidden])") : button;
      if (document.activeElement === document.body) next.focus(); // what was disabled or is hidden has lost it
    });
  act("cancel", async () => add(await (await send("POST", `${path(id)}/cancel`)).json()));
  act("retry", async () => add(await (await send("POST", `${path(id)}/retry`, {})).json()));
  act("delete", () => remove(id));
}

async function remove(id) {
  const { name } = entries.get(id).memory;
  if (!confirm(`Delete ${name}? Its documents and its weights are erased for good.`)) return;
  await send("DELETE", path(id));
  acts += 1;
  drop(id);
  settle();
  page.told(`${name} is deleted.`);
  document.querySelector("#list").focus();
}
