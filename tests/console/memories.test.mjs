import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { json, memory, open, settled } from "./page.mjs";

let stored = []; // newest first
let holding = null; // what a reading waits for

const page = open(async (method, { pathname, searchParams }) => {
  const id = pathname.split("/")[3];
  if (pathname === "/v1/languages") return json({ data: [] });
  if (method === "DELETE") stored = stored.filter((one) => one.id !== id);
  if (method === "DELETE") return json({});
  if (pathname.endsWith("/events")) return new Response(""); // that end at once
  if (id) return held(json(stored.find((one) => one.id === id)));
  const after = searchParams.get("after") ?? "~";
  const limit = Number(searchParams.get("limit"));
  const rest = stored.filter((one) => one.id < after);
  const data = rest.slice(0, limit);
  const has_more = rest.length > limit;
  return held(json({ object: "list", data, has_more, next: has_more ? data.at(-1).id : null }));
});

async function held(reply) {
  await holding;
  return reply;
}

/** Hold the replies of readings back; return what lets them go. */
function hold() {
  let go;
  holding = new Promise((resolve) => (go = resolve));
  return go;
}

async function remove(place) {
  page.act(page.part("#memories").children[place].querySelector(".delete"), "click");
  await settled();
}

const memories = await import("../../console/memories.js");
memories.connect({ failed: assert.ifError, well() {}, told() {}, changed() {} });

const range = (newest, oldest) => Array.from({ length: newest - oldest + 1 }, (_, place) => memory(newest - place));
const names = (...numbers) => numbers.map((number) => `memory ${number}`);

beforeEach(async () => {
  stored = [];
  holding = null;
  await memories.load();
});

test("what is deleted elsewhere disappears from older pages, too", async () => {
  stored = range(260, 1);
  await memories.load();
  assert.equal(page.names().length, 50);
  for (let more = 0; more < 3; more++) {
    page.act(page.part("#more"), "click");
    await settled();
  }
  assert.deepEqual(page.names(), range(260, 61).map(({ name }) => name));

  stored = stored.filter(({ id }) => id !== "mem_100");
  await memories.load();

  assert.ok(!page.names().includes("memory 100"));
  assert.equal(page.part("#more").hidden, false);
});

test("what serves another version since is seen on older pages, too", async () => {
  stored = range(80, 1);
  await memories.load();
  page.act(page.part("#more"), "click");
  await settled();
  assert.equal(page.part("#more").hidden, true);

  stored[79] = memory(1, { version: 0 });
  await memories.load();

  assert.equal(memories.serving().length, 79);
});

test("one that was added stays shown, and reading again shows no more than was shown", async () => {
  stored = range(120, 1);
  await memories.load();
  stored.unshift(memory(121));
  memories.add(stored[0]);
  for (let time = 0; time < 3; time++) await memories.load();

  assert.deepEqual(page.names(), range(121, 71).map(({ name }) => name));
});

test("a memory that was deleted does not come back with a reading that began before", async () => {
  stored = range(3, 1);
  await memories.load();
  const go = hold();
  const reading = memories.load();
  await settled();

  await remove(1);
  assert.deepEqual(page.names(), names(3, 1));
  go();
  await reading;

  assert.deepEqual(page.names(), names(3, 1));
});

test("a memory that was deleted does not come back with the news of its end", async () => {
  stored = range(2, 2).concat(memory(1, { status: "training" }));
  await memories.load();
  const go = hold();
  await settled(); // its events have ended, so it is read again

  await remove(1);
  go();
  await settled();

  assert.deepEqual(page.names(), names(2));
});
