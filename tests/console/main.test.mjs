import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { json, memory, open, settled } from "./page.mjs";

let sent = []; // what was posted
const GUARD = { id: "lng_1", language: "ar", status: "ready", memory: null };
const PASSAGE = { document: "a.md", index: 0, text: "نص" };
const TOLD = { mode: "adapter", used: [], passages: [PASSAGE], engine: "one", abstained: false };

let down = null; // what calls get in place of their answers,
let at = ""; // those whose paths end so
let stored = []; // memories
let answering = answered;

const page = open((method, { pathname }, { body }) => {
  if (down && pathname.endsWith(at)) return down.clone();
  if (method === "POST") sent.push(body);
  if (pathname === "/v1/memories" && method === "POST") return json(memory(1), 202);
  if (pathname === "/v1/memories/mem_001") return json(stored[0]);
  if (pathname === "/v1/chat/completions") return answering();
  return json({ data: pathname === "/v1/languages" ? [GUARD] : stored, has_more: false, next: null });
});

function answered() {
  const chunk = { choices: [{ delta: { content: "نعم" }, finish_reason: "stop" }], memory: TOLD };
  return new Response(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`, {
    headers: { "X-Lorekeep-Memory": "mem_001", "X-Lorekeep-Version": "1", "X-Lorekeep-Mode": "adapter" },
  });
}

page.part("#base").dataset.title = "Base model, without it";
await import("../../console/main.js");
await settled();

const file = (name, read) => Object.assign(new Blob(["text"]), { name, slice: () => ({ arrayBuffer: read }) });
const whole = file("whole.md", async () => new ArrayBuffer(1));
const gone = file("gone.md", () => Promise.reject(new Error("NotReadableError")));

async function submit(form) {
  page.act(page.part(form), "submit");
  await settled();
}

beforeEach(() => {
  sent = [];
  down = null;
  at = "";
  stored = [];
  answering = answered;
});

test("a file that changed since it was chosen, or a folder, is told by its name, and nothing is sent", async () => {
  page.part("#files").files = [whole, gone];
  await submit("#remember");

  assert.equal(page.part("#notice").textContent, "gone.md changed or cannot be read: choose it again.");
  assert.deepEqual(sent, []);
  assert.equal(page.part("#told").textContent, "");
});

test("files that can be read are sent", async () => {
  page.part("#files").files = [whole];
  await submit("#remember");

  assert.equal(page.part("#notice").textContent, "");
  assert.equal(sent[0].getAll("file").length, 1);
});

test("an answer is marked with the language that was chosen for it, the base model's is not", async () => {
  for (const [language, marked] of [["ar", "ar"], ["", ""]]) {
    page.part("#language").value = language;
    page.part("#beside").checked = true;
    await submit("#ask");

    assert.equal(page.part("#own").querySelector(".answer").textContent, "نعم");
    assert.equal(page.part("#own").querySelector(".answer").lang, marked);
    assert.equal(page.part("#base").querySelector(".answer").lang, "");
  }
});

test("a passage is written in the direction of its own text", async () => {
  await submit("#ask");

  const [passage] = page.part("#own").querySelector(".passages").querySelector("ol").children;
  assert.equal(passage.children.find(({ name }) => name === "p").dir, "auto");
});

test("an answer whose connection breaks says so in the page's own words", async () => {
  const broken = new ReadableStream({ pull: (source) => source.error(new TypeError("network error")) });
  answering = () => new Response(broken, { headers: answered().headers });
  await submit("#ask");

  assert.equal(page.part("#own").querySelector(".source").textContent, "The answer broke off: ask again.");
});

async function look() {
  page.show(true);
  await settled();
  return page.part("#notice").textContent;
}

async function more() {
  page.act(page.part("#more"), "click");
  await settled();
}

test("that the registry is away is taken back once it is there again, whatever was read", async () => {
  const looks = ["/v1/memories", "/v1/languages", "/mem_001"].map((path) => [look, path]);
  stored = [memory(1, { status: "training" })]; // its events end at once, so it is read again
  for (const [read, path] of [...looks, [more, ""], [() => enter("a-key"), ""]]) {
    at = path;
    down = json({ error: { message: "The registry cannot be reached." } }, 503);
    await read();
    down = null;

    assert.equal(page.part("#notice").textContent, "The registry cannot be reached.");
    assert.equal(await look(), "", `${read} ${path}`);
  }
});

test("why documents were not taken stays until they are sent again", async () => {
  page.part("#files").files = [whole];
  down = json({ error: { message: "The artifact store cannot be reached." } }, 503);
  await submit("#remember");
  down = null;

  assert.equal(await look(), "The artifact store cannot be reached.");
});

test("a language that was chosen for the base model keeps the question with it", async () => {
  page.part("#language").value = "ar";
  page.act(page.part("#language"), "change");
  stored = [memory(1)];
  await look();

  assert.deepEqual([page.part("#which").value, page.part("#language").value], ["base", "ar"]);
});

const refused = () => json({ error: { message: "No such key." } }, 401);

async function enter(key) {
  page.part("#key").value = key;
  await submit("#enter");
}

test("a key that is refused in mid-question leaves nothing that looks as if it ran on", async () => {
  down = refused();
  await submit("#ask");
  down = null;
  await enter("a-key");

  assert.equal(page.part("#own").querySelector(".source").textContent, "No such key.");
});

test("the key that was refused, entered again, goes on; another one begins the page anew", async () => {
  for (const [key, reloads] of [["a-key", 0], ["another-key", 1]]) {
    down = refused();
    await look();
    down = null;
    assert.equal(page.part("#work").hidden, true);
    await enter(key);

    assert.equal(page.reloads, reloads);
    assert.equal(sessionStorage.getItem("lorekeep-key"), key);
  }
});
