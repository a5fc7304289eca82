// The page: the key first, then remembering and asking.

import { call, forget, keep, key } from "./api.js";
import { allow, ask, listen, offer, pick } from "./ask.js";
import { add, connect, load, serving } from "./memories.js";

const $ = (id) => document.getElementById(id);
let lost = false; // whether the notice says that the gateway, or what the page shows, cannot be reached
let last = key(); // whose memories and answers are on the page

function fail(error) {
  lost = error.status === 0;
  if (error.status !== 401) {
    $("notice").textContent = error.message;
    return;
  }
  forget();
  enter(false);
  $("key").focus();
  $("notice").textContent = `The gateway does not take this key. ${error.message}`;
}

/** Show that what the page shows cannot be read just now. */
function away(error) {
  fail(error);
  lost = error.status !== 401;
}

/** Take back that something is away. */
function well() {
  if (lost) $("notice").textContent = "";
  lost = false;
}

function told(sentence) {
  $("told").textContent = sentence;
}

function enter(isIn) {
  $("enter").hidden = isIn;
  $("work").hidden = !isIn;
  $("leave").hidden = !isIn;
}

async function start() {
  enter(Boolean(key()));
  if (!key()) return $("key").focus();
  await load().then(() => $("files").focus(), away);
}

/** Let a form run one thing at a time, its errors shown above. */
function on(form, run) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.running) return; // a button that is disabled would lose the focus
    form.dataset.running = "yes";
    $("notice").textContent = "";
    await run().catch(fail);
    delete form.dataset.running;
  });
}

async function remember() {
  const body = new FormData();
  for (const file of $("files").files) body.append("file", file);
  if ($("name").value.trim()) body.append("name", $("name").value.trim());
  told("Sending …");
  try {
    for (const file of $("files").files) await look(file);
    const memory = await (await call("/v1/memories", { method: "POST", body })).json();
    told(`${memory.name} is accepted. It answers once it is ready.`);
    add(memory);
    $("remember").reset();
  } catch (error) {
    told("");
    throw error;
  }
}

/** Look into a file: sending one that changed since it was chosen, or a folder, fails as if the gateway were lost. */
async function look(file) {
  await file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Error(`${file.name} changed or cannot be read: choose it again.`);
  });
}

function changed() {
  offer(serving());
  listen().catch(away);
}

connect({ failed: fail, away, well, told, changed });
on($("enter"), async () => {
  keep($("key").value.trim());
  $("key").value = "";
  if (last && last !== key()) return location.reload(); // nothing of another key stays, nor what it still waits for
  last = key();
  await start();
});
on($("remember"), remember);
on($("ask"), ask);
for (const id of ["which", "language"]) $(id).addEventListener("change", pick); // a language is for what is shown
$("mode").addEventListener("change", allow);
$("leave").addEventListener("click", () => {
  forget();
  location.reload();
});
// The whole page takes files, so that one dropped beside the frame does not replace the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") $("files").files = event.dataTransfer.files;
  });
}
start();
