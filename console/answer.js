// One answer: streamed into its place on the page, with who gave it and why.

import { brokeOff, events, send } from "./api.js";
import { abstention, answerer, considered, early, glossary, reading, source, unwrapped } from "./told.js";

const MOST_TOKENS = 256;

/** Empty a place for the answer that comes. */
export function clear(place, title) {
  place.querySelector("h3").textContent = title;
  place.querySelector(".answer").textContent = "";
  place.querySelector(".source").textContent = "Asking …";
  for (const part of place.querySelectorAll(".note, details")) part.hidden = true;
  for (const fold of place.querySelectorAll("details")) fold.open = false;
  place.classList.remove("failed");
  place.setAttribute("aria-busy", "true");
}

/** Stream an answer; an error is said in its place, beside what the other one answers.
 *
 * `begun` is called once: with what is known of who answers, or with null where nobody does.
 */
export async function answer(place, body, names, begun = () => {}) {
  const started = performance.now();
  place.querySelector(".answer").lang = body.memory?.language ?? ""; // unknown, in place of the page's own
  try {
    const sent = { ...body, temperature: 0, max_tokens: MOST_TOKENS, stream: true };
    const response = await send("POST", "/v1/chat/completions", sent);
    const memory = early(response.headers);
    tell(place, memory, names);
    begun(memory);
    const end = await stream(response, place, names);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const cut = end === "length" ? ` · cut off at ${MOST_TOKENS} tokens` : "";
    place.querySelector(".source").textContent += ` · ${seconds} s${cut}`;
  } catch (error) {
    begun(null);
    place.classList.add("failed");
    place.querySelector(".source").textContent = error.message;
    if (error.status === 401) throw error;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** What a place says, as one would read it out. */
export function said(place) {
  const parts = ["h3", ".note:not([hidden])", ".answer", ".source"].map((part) => place.querySelector(part));
  return parts.map((part) => part?.textContent.trim()).filter(Boolean).join("\n");
}

/** Show the pieces as they come; return why the answer ended. */
async function stream(response, place, names) {
  let end = null;
  for await (const { data } of events(response)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    place.querySelector(".answer").textContent += chunk.choices?.[0]?.delta?.content ?? "";
    end = chunk.choices?.[0]?.finish_reason ?? end;
    if (chunk.memory) tell(place, chunk.memory, names);
  }
  if (!end) throw brokeOff();
  return end;
}

/** Show what a reply says of who answers; the base model beside a memory has nothing more to tell than where it runs. */
function tell(place, memory, names) {
  place.querySelector(".source").textContent = source(memory, names);
  if (place.dataset.title) return;
  const { passages, candidates = [] } = memory;
  const note = place.querySelector(".note");
  place.querySelector("h3").textContent = answerer(memory, names);
  note.textContent = abstention(memory);
  note.hidden = !note.textContent;
  fold(place.querySelector(".passages"), reading(passages), passages.map(cited));
  const why = place.querySelector(".why");
  fold(why, memory.abstained ? "Why no memory?" : "Why this memory?", considered(candidates).map(weighed));
  why.querySelector(".hint").textContent = glossary(candidates);
}

/** Fill a foldable list; one with nothing in it is hidden. */
function fold(details, summary, items) {
  details.hidden = items.length === 0;
  details.querySelector("summary").textContent = summary;
  details.querySelector("ol").replaceChildren(...items);
}

function cited({ document: name, index, text }) {
  return item(["cite", `${name}, passage ${index + 1}`], ["p", unwrapped(text)]);
}

function weighed({ name, facts, fate }) {
  return item(["strong", name], ["span", facts], ["p", fate]);
}

function item(...parts) {
  const made = document.createElement("li");
  for (const [tag, text] of parts) {
    const part = document.createElement(tag);
    part.textContent = text;
    part.dir = "auto";
    made.append(part, " ");
  }
  return made;
}
