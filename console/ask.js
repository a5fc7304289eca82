// One question, to a memory and to the base model beside it.

import { call, events } from "./api.js";

const $ = (id) => document.getElementById(id);

/** Put what can answer into the choice, keeping what is chosen. */
export function offer(memories) {
  const chosen = $("which").value;
  $("which").replaceChildren(...memories.map(({ id, name }) => new Option(name, id)));
  if (memories.some(({ id }) => id === chosen)) $("which").value = chosen;
  $("ask").querySelector("button").disabled = memories.length === 0;
}

/** Ask both, streamed. */
export async function ask() {
  const question = $("question").value;
  const choice = $("which").selectedOptions[0];
  const mode = $("mode").value;
  $("answers").hidden = false;
  $("asked").textContent = choice.textContent;
  for (const id of ["answer", "source", "base"]) $(id).textContent = "";
  $("passages").replaceChildren();
  const began = performance.now();
  const fromMemory = async () => {
    const memory = await stream({ model: choice.value, memory: { mode } }, question, $("answer"));
    if (memory) explain(memory, mode, (performance.now() - began) / 1000);
  };
  await Promise.all([fromMemory(), stream({ model: "base" }, question, $("base"))]);
}

async function stream(target, question, place) {
  const body = { ...target, messages: [{ role: "user", content: question }], temperature: 0, max_tokens: 256, stream: true };
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let memory = null;
  for await (const { data } of events(await call("/v1/chat/completions", options))) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    place.textContent += chunk.choices?.[0]?.delta?.content ?? "";
    memory = chunk.memory ?? memory;
  }
  return memory;
}

function explain(memory, mode, seconds) {
  const version = memory.used?.[0]?.version;
  const loaded = memory.cold ? `loaded in ${Math.round(memory.load_ms)} ms` : "already loaded";
  const from = mode === "adapter" ? `version ${version}, ${loaded}` : `${memory.passages.length} passages`;
  $("source").textContent = `${from}, ${memory.engine}, ${seconds.toFixed(1)} s`;
  for (const passage of memory.passages ?? []) {
    const item = document.createElement("li");
    item.textContent = passage.text ?? `${passage.document}, passage ${passage.index}`;
    $("passages").append(item);
  }
}
