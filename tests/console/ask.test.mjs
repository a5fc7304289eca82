import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { json, memory, open } from "./page.mjs";

const GUARD = { id: "lng_1", language: "ko", status: "ready", memory: "mem_001", memory_version: 1 };

const page = open(() => json({ data: [GUARD] }));
const { listen, offer, pick } = await import("../../console/ask.js");
await listen();

const [one, two, three] = [memory(1), memory(2), memory(3)];
const shown = () => [page.part("#which").value, page.part("#language").value];

function choose(part, value) {
  page.part(part).value = value;
  pick();
}

beforeEach(() => {
  choose("#which", "");
  choose("#language", "");
});

test("whom a question goes to stays while it is there, whatever else becomes ready", () => {
  offer([one]);
  choose("#language", "ko");
  offer([two, one]);
  assert.deepEqual(shown(), ["mem_001", "ko"]);

  offer([two]);
  assert.deepEqual(shown(), ["mem_002", ""]);

  offer([three, two]);
  assert.deepEqual(shown(), ["mem_002", ""]);
});

test("the base model, shown for want of a memory, gives way to the first one", () => {
  offer([]);
  assert.deepEqual(shown(), ["base", ""]);

  offer([one]);
  assert.deepEqual(shown(), ["mem_001", ""]);
});

test("the base model stays where it was chosen", () => {
  offer([]);
  choose("#which", "base");
  offer([one]);

  assert.deepEqual(shown(), ["base", ""]);
});
