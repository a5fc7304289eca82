// The page: the key first, then remembering and asking.

import { call, forget, keep, key, Refused } from "./api.js";
import { ask, offer } from "./ask.js";
import { add, connect, load, serving } from "./memories.js";

const $ = (id) => document.getElementById(id);

function say(error) {
  if (error instanceof Refused && error.status === 401) {
    forget();
    enter(false);
  }
  $("notice").textContent = error.message;
}

function enter(isIn) {
  $("enter").hidden = isIn;
  $("work").hidden = !isIn;
  $("leave").hidden = !isIn;
  (isIn ? $("files") : $("key")).focus();
}

async function start() {
  if (!key()) return enter(false);
  try {
    await load();
    enter(true);
  } catch (error) {
    say(error);
  }
}

/** Let a form run one thing at a time, its errors shown above. */
function on(form, run) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    $("notice").textContent = "";
    await run().catch(say);
    button.disabled = false;
  });
}

async function remember() {
  const body = new FormData();
  for (const file of $("files").files) body.append("file", file);
  if ($("name").value.trim()) body.append("name", $("name").value.trim());
  const reply = await call("/v1/memories", { method: "POST", body });
  add(await reply.json());
  $("remember").reset();
}

connect(say, () => offer(serving()));
on($("enter"), async () => {
  keep($("key").value.trim());
  $("key").value = "";
  await start();
});
on($("remember"), remember);
on($("ask"), ask);
$("leave").addEventListener("click", () => {
  forget();
  location.reload();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") $("files").files = event.dataTransfer.files;
  });
}
start();
