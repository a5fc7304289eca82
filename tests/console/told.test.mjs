import assert from "node:assert/strict";
import { test } from "node:test";

import * as told from "../../console/told.js";

const NAMES = new Map([["mem_1", "handbook"], ["mem_2", "phone book"], ["lng_1", "Korean"]]);
const MEMORY = {
  mode: "adapter",
  used: [{ id: "mem_1", version: 2, score: 7.3141 }],
  passages: [],
  engine: "one",
  cold: false,
  load_ms: 0,
  abstained: false,
};
const GUARD = { id: "lng_1", version: 1, score: null };
const BASE = { ...MEMORY, mode: "base", used: [] };

test("several memories are asked as any memory at first, one as itself, none as the base model", () => {
  const two = [{ id: "mem_1", name: "handbook" }, { id: "mem_2", name: "phone book" }];
  assert.equal(told.choices(two).first, "auto");
  assert.equal(told.choices(two.slice(0, 1)).first, "mem_1");
  assert.deepEqual(told.choices([]), { offered: [["base model", "base"]], first: "base" });
});

test("a request has what its choice needs and nothing that the gateway refuses", () => {
  assert.deepEqual(told.request("base", "both", ""), { model: "base" });
  assert.deepEqual(told.request("base", "both", "ko"), { model: "base", memory: { language: "ko" } });
  assert.deepEqual(told.request("mem_1", "both", ""), { model: "mem_1", memory: { mode: "both" } });
  assert.deepEqual(told.request("auto", "auto", "ko"), {
    model: "base",
    memory: { ids: "auto", mode: "auto", explain: true, language: "ko" },
  });
});

test("headers tell what the last chunk tells, but for passages and candidates", () => {
  const reply = (fields) => new Headers(Object.entries(fields).map(([name, value]) => [`X-Lorekeep-${name}`, value]));
  const rest = { Mode: "adapter", Engine: "one", Cold: "true", "Load-Ms": "52.5", Abstained: "false" };
  const found = told.early(reply({ ...rest, Memory: "mem_1,lng_1", Version: "2,1", Score: "7.3141" }));
  assert.deepEqual(found, { ...MEMORY, used: [...MEMORY.used, GUARD], cold: true, load_ms: 52.5 });
  assert.deepEqual(told.early(reply({ ...rest, Memory: "base", Version: "0" })).used, []);
});

test("an answer says who gave it, from what, with what score, cold or warm, and where", () => {
  assert.equal(told.answerer(MEMORY, NAMES), "handbook, version 2");
  assert.equal(told.source(MEMORY, NAMES), "from its weights · score 7.31 · warm · on one");
  const cold = { ...MEMORY, mode: "both", cold: true, load_ms: 52.5 };
  assert.equal(told.source(cold, NAMES), "from its weights and passages · score 7.31 · cold, loaded in 53 ms · on one");
});

test("where no adapter runs, nothing is cold or warm", () => {
  const reading = { ...MEMORY, mode: "context" };
  assert.equal(told.source(reading, NAMES), "from passages, read by the base model · score 7.31 · on one");
  assert.equal(told.answerer(BASE, NAMES), "Base model");
  assert.equal(told.source(BASE, NAMES), "on one");
});

test("a guard is told by its language, never as a memory", () => {
  const kept = { ...MEMORY, used: [GUARD, { ...MEMORY.used[0], score: null }] };
  assert.equal(told.answerer(kept, NAMES), "handbook, version 2");
  assert.equal(told.source(kept, NAMES), "from its weights · kept to Korean · warm · on one");
  assert.equal(told.answerer({ ...kept, used: [GUARD] }, NAMES), "Base model");
});

test("a memory that the page has not read is told by its id", () => {
  assert.equal(told.answerer(MEMORY, new Map()), "mem_1, version 2");
});

test("an abstention says whether no memory is about the question or none knows", () => {
  const candidate = { name: "handbook", version: 1, score: 1, similarity: null, taken: false };
  const below = { ...candidate, reason: "below the threshold 2.00" };
  const guessing = { ...candidate, reason: "does not know: first token: entropy 3.00, gain +0.00 nats" };
  assert.equal(told.abstention(MEMORY), "");
  assert.equal(told.abstention({ abstained: true, candidates: [below] }), "No memory is about this: the base model answered.");
  assert.equal(told.abstention({ abstained: true, candidates: [guessing] }), "No memory knows this: the base model answered.");
});

test("each candidate says what became of it", () => {
  const [one] = told.considered([
    { name: "handbook", version: 3, score: 1.5, similarity: 0.814, taken: false, reason: "far behind the first" },
  ]);
  assert.deepEqual(one, {
    name: "handbook",
    facts: "version 3 · score 1.50 · similarity 0.81",
    fate: "Passed over: far behind the first.",
  });
});

test("figures are explained where they are shown", () => {
  assert.ok(!told.glossary([{ reason: "below the threshold 2.00" }]).includes("Entropy"));
  assert.ok(told.glossary([{ reason: "first token: entropy 0.10, gain +3.00 nats" }]).includes("Entropy"));
});

test("passages are counted and their documents named once", () => {
  assert.equal(told.reading([{ document: "a.md" }]), "1 passage of a.md");
  assert.equal(told.reading([{ document: "a.md" }, { document: "b.md" }, { document: "a.md" }]), "3 passages of a.md, b.md");
});

test("a passage loses the line ends that wrap it and keeps those of lists and tables", () => {
  assert.equal(told.unwrapped("one\ntwo\n\nthree"), "one two\n\nthree");
  assert.equal(told.unwrapped("list\n- a\n2. b\n| c |\n1987 was"), "list\n- a\n2. b\n| c | 1987 was");
});

test("languages are those of guards that are ready for what is asked, each once", () => {
  const guard = (language, status, memory = null, version = null) => ({ language, status, memory, memory_version: version });
  const guards = [guard("ko", "ready"), guard("ko", "ready"), guard("de", "training"), guard("fr", "ready", "mem_1", 2)];
  assert.deepEqual(told.languages(guards, "auto", undefined, "adapter"), [["Korean", "ko"]]);
  assert.deepEqual(told.languages(guards, "mem_1", 2, "adapter"), [["French", "fr"], ["Korean", "ko"]]);
  assert.deepEqual(told.languages(guards, "mem_1", 2, "context"), [["Korean", "ko"]]); // the base model's weights answer
  assert.deepEqual(told.languages(guards, "mem_1", 3, "adapter"), [["Korean", "ko"]]); // grown since: that guard no longer fits
});
