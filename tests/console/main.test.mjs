import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { json, memory, open, settled } from "./page.mjs";

let sent = []; // what was posted

const page = open((method, { pathname }, { body }) => {
  if (method === "POST") sent.push(body);
  if (pathname === "/v1/memories" && method === "POST") return json(memory(1), 202);
  return json({ data: [], has_more: false, next: null });
});

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
