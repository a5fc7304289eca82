// One question, to a memory and to the base model beside it.

import { events, send } from "./api.js";

const MOST_TOKENS = 256;
const BASE = "base";
const $ = (id) => document.getElementById(id);

/** Put what can answer into the choice, keeping what is chosen. */
export function offer(memories) {
  const which = $("which");
  const wanted = [...memories.map(({ id, name }) => [name, id]), ["base model", BASE]];
  const shown = [...which.options].map(({ text, value }) => [text, value]);
  if (JSON.stringify(wanted) === JSON.stringify(shown)) return;
  const chosen = shown.length > 1 ? which.value : "";
  which.replaceChildren(...wanted.map(([name, id]) => new Option(name, id)));
  if (wanted.some(([, id]) => id === chosen)) which.value = chosen;
  allow();
}

/** Leave out what makes no sense with what is chosen; say whether only the base model is asked. */
export function allow() {
  const alone = $("which").value === BASE || $("mode").value === BASE;
  $("mode").disabled = $("which").value === BASE;
  $("beside").disabled = alone;
  return alone;
}

/** Ask, streamed; the base model too where it is wanted. */
export async function ask() {
  const question = $("question").value;
  const [choice] = $("which").selectedOptions;
  const alone = allow();
  const both = !alone && $("beside").checked;
  const target = alone ? { model: BASE } : { model: choice.value, memory: { mode: $("mode").value } };
  $("answers").hidden = false;
  $("base").hidden = !both;
  const running = [answer($("own"), alone ? "Base model" : choice.text, target, question)];
  if (both) running.push(answer($("base"), "Base model, without it", { model: BASE }, question));
  const failed = (await Promise.allSettled(running)).find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

/** Stream one answer into its place; an error is said there, beside what the other one answers. */
async function answer(place, title, target, question) {
  const began = performance.now();
  const source = place.querySelector(".source");
  place.querySelector("h3").textContent = title;
  place.querySelector(".answer").textContent = "";
  place.querySelector(".passages").replaceChildren();
  place.classList.remove("failed");
  place.setAttribute("aria-busy", "true");
  source.textContent = "Asking …";
  try {
    const messages = [{ role: "user", content: question }];
    const body = { ...target, messages, temperature: 0, max_tokens: MOST_TOKENS, stream: true };
    const response = await send("POST", "/v1/chat/completions", body);
    source.textContent = answerer(response.headers);
    const end = await stream(response, place);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    source.textContent += ` · ${seconds} s${end === "length" ? ` · cut off at ${MOST_TOKENS} tokens` : ""}`;
  } catch (error) {
    if (error.status === 401) throw error;
    place.classList.add("failed");
    source.textContent = error.message;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Show the pieces as they come; return why the answer ended. */
async function stream(response, place) {
  let end = null;
  for await (const { data } of events(response)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    place.querySelector(".answer").textContent += chunk.choices?.[0]?.delta?.content ?? "";
    end = chunk.choices?.[0]?.finish_reason ?? end;
    if (chunk.memory) show(chunk.memory.passages, place.querySelector(".passages"));
  }
  if (!end) throw new Error("The answer broke off: ask again.");
  return end;
}

/** Say who answers: each reply's headers tell. */
function answerer(headers) {
  const told = (name) => headers.get(`X-Lorekeep-${name}`);
  const ways = { adapter: "from its weights", context: "from passages, by the base model", both: "from its weights and passages" };
  const way = ways[told("Mode")];
  const cold = told("Cold") === "true" ? `cold, loaded in ${Math.round(told("Load-Ms"))} ms` : "warm";
  const from = way ? `version ${told("Version")}, ${way}` : "base model";
  return [from, ...(["adapter", "both"].includes(told("Mode")) ? [cold] : []), told("Engine")].join(" · ");
}

function show(passages, place) {
  for (const passage of passages) {
    const item = document.createElement("li");
    item.textContent = passage.text;
    place.append(item);
  }
}
