import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { memory, open, settled } from "./page.mjs";

let streams = []; // open, in the order they were opened

const page = open((_, { pathname }, { headers, signal }) => {
  let source;
  const body = new ReadableStream({ start: (controller) => (source = controller) });
  const stream = {
    id: pathname.split("/")[3],
    after: headers["Last-Event-ID"],
    tell: (id) => source.enqueue(new TextEncoder().encode(`id: ${id}\nevent: progress\ndata: {}\n\n`)),
    end() {
      streams.splice(streams.indexOf(stream), 1);
      source.close();
    },
  };
  streams.push(stream);
  signal?.addEventListener("abort", () => {
    streams.splice(streams.indexOf(stream), 1);
    source.error(signal.reason);
  });
  return new Response(body);
});
const { follow } = await import("../../console/follow.js");

const entry = (number, status) => {
  const one = memory(number, { status });
  return { id: one.id, item: { isConnected: true }, memory: one, heard: "" };
};
const ids = () => streams.map(({ id }) => id);
let over = [];
const look = (...entries) => follow([...entries], () => {}, (id) => over.push(id));

beforeEach(async () => {
  page.show(false);
  page.show(true);
  await settled();
  streams = [];
  over = [];
});

test("a tab follows one memory, so that two tabs leave connections for everything else", async () => {
  look(entry(1, "training"), entry(2, "training"), entry(3, "queued"));
  await settled();

  assert.deepEqual(ids(), ["mem_001"]);
});

test("a tab that is hidden follows nothing, and goes on from what was heard last once it is seen", async () => {
  const one = entry(1, "training");
  look(one);
  await settled();
  streams[0].tell("7-0");
  await settled();

  page.show(false);
  await settled();
  assert.deepEqual(ids(), []);
  look(one);
  await settled();
  assert.deepEqual(ids(), []);

  page.show(true);
  look(one);
  await settled();
  assert.deepEqual(streams.map(({ id, after }) => [id, after]), [["mem_001", "7-0"]]);
  assert.deepEqual(over, []);
});

test("a memory in the queue gives up its place to one that is worked on, which keeps it", async () => {
  const [one, two, three] = [entry(1, "queued"), entry(2, "queued"), entry(3, "training")];
  look(one, two);
  await settled();
  assert.deepEqual(ids(), ["mem_001"]);

  two.memory.status = "training";
  look(one, two, three);
  await settled();
  assert.deepEqual(ids(), ["mem_002"]);

  one.memory.status = "training";
  look(one, two, three);
  await settled();
  assert.deepEqual(ids(), ["mem_002"]);
});

test("a memory that is over or gone leaves its place to the next", async () => {
  const [one, two, three] = [entry(1, "training"), entry(2, "training"), entry(3, "training")];
  look(one, two, three);
  await settled();
  streams[0].end();
  await settled();
  assert.deepEqual(over, ["mem_001"]);

  look(two, three);
  await settled();
  assert.deepEqual(ids(), ["mem_002"]);

  two.item.isConnected = false;
  look(three);
  await settled();
  assert.deepEqual(ids(), ["mem_003"]);
});
