// One memory, drawn. What comes from the gateway is put in as text, never as markup: a name may hold any.

import { ago, asked, duration, percent, size } from "./words.js";

export const OVER = new Set(["ready", "failed", "rejected", "cancelled"]);
const AGAIN = new Set(["failed", "rejected", "cancelled"]);
const WHOSE = { adapter: "its weights", both: "its weights with passages", base: "the base model" };
const DOING = {
  queued: "Waiting for its turn.",
  preparing: "Reading the documents and writing what to train on.",
  training: "Training begins.",
  evaluating: "Answering questions, with it and without it.",
  publishing: "Handing it to the engines.",
};

/** Draw all of a memory. */
export function draw(item, memory) {
  item.querySelector(".name").textContent = memory.name;
  item.querySelector(".id").textContent = memory.id;
  for (const button of item.querySelectorAll(".acts button")) {
    button.setAttribute("aria-label", `${button.textContent} ${memory.name}`);
  }
  item.querySelector("progress").setAttribute("aria-label", `Progress of ${memory.name}`);
  drawFacts(item, memory);
  drawScores(item, memory);
  if (item.dataset.status !== memory.status) drawState(item, memory.status);
  if (OVER.has(memory.status)) item.querySelector(".said").textContent = memory.error?.message ?? "";
  else advance(item, memory.progress);
}

/** Draw that a memory's newest version has another state. */
export function drawState(item, status) {
  const over = OVER.has(status);
  const bar = item.querySelector("progress");
  item.dataset.status = status;
  item.querySelector(".status").textContent = status;
  item.querySelector(".said").textContent = DOING[status] ?? "";
  bar.hidden = over || status === "queued";
  bar.removeAttribute("value");
  item.querySelector(".cancel").hidden = over;
  item.querySelector(".retry").hidden = !AGAIN.has(status);
}

/** Draw how far the stage is that a memory is in. */
export function advance(item, told) {
  if (told.stage !== item.dataset.status) return;
  const bar = item.querySelector("progress");
  const said = item.querySelector(".said");
  if (told.steps) {
    bar.value = told.step / told.steps;
    const left = `at most ${duration(told.eta_s)} left`;
    const part = told.part ? `Part ${told.part} of ${told.parts}: step` : "Step";
    said.textContent = `${part} ${told.step} of at most ${told.steps}, loss ${told.loss.toFixed(3)}, ${left}.`;
  } else if (told.total) {
    bar.value = told.done / told.total;
    const what = told.stage === "training" ? "texts read by the base model" : "prepared";
    said.textContent = `${told.done} of ${told.total} ${what}.`;
  } else if (told.done) {
    said.textContent = `${told.done} answers given at the gate.`;
  }
}

function drawFacts(item, { version, latest, documents, updated_at }) {
  const newer = latest > version ? ` serves, ${latest} is newest` : "";
  const serves = version ? `Version ${version}${newer}` : "Serves nothing yet";
  const bytes = documents.reduce((sum, document) => sum + document.size_bytes, 0);
  const what = documents.length === 1 ? "1 document" : `${documents.length} documents`;
  const when = document.createElement("time");
  const moment = new Date(updated_at * 1000);
  when.dateTime = moment.toISOString();
  when.title = moment.toLocaleString();
  when.textContent = ago(updated_at);
  item.querySelector(".facts").replaceChildren(`${serves} · ${what}, ${size(bytes)} · `, when);
}

function drawScores(item, { name, scores }) {
  const known = scores.questions > 0;
  const judged = item.querySelector(".judged");
  judged.hidden = !known;
  if (!known) return;
  judged.querySelector("p").textContent = asked(scores);
  for (const [who, whose] of Object.entries(WHOSE)) {
    const row = judged.querySelector(`.${who}`);
    row.hidden = scores[who] === undefined;
    if (row.hidden) continue;
    const meter = row.querySelector("meter");
    meter.value = scores[who];
    meter.setAttribute("aria-label", `Questions about ${name} answered by ${whose}`);
    row.querySelector("span").textContent = percent(scores[who]);
  }
}
