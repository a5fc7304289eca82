// One question: to whom, from what and in which language; the base model beside it.

import { answer, clear, said } from "./answer.js";
import { send } from "./api.js";
import { BASE, choices, languages, request, spoken } from "./told.js";

const $ = (id) => document.getElementById(id);
const names = new Map(); // of memories, and of the languages of guards, by id
const versions = new Map(); // of memories, those that serve, by id
let guards = [];
let picked = ""; // what the user chose

/** Put what can answer into the choice: what is shown stays, but a base model that nobody chose gives way. */
export function offer(memories) {
  for (const { id, name, version } of memories) {
    names.set(id, name);
    versions.set(id, version);
  }
  const { offered, first } = choices(memories);
  const shown = $("which").value;
  fill($("which"), offered, shown === BASE ? picked : shown, first);
  allow();
}

/** Read which languages answers can keep to. */
export async function listen() {
  guards = (await (await send("GET", "/v1/languages?limit=100")).json()).data;
  for (const { id, language } of guards) names.set(id, spoken(language));
  allow();
}

/** Keep what was chosen. */
export function pick() {
  picked = $("which").value;
  allow();
}

/** Leave out what makes no sense with what is chosen; say whether only the bare base model is asked. */
export function allow() {
  const which = $("which").value;
  const kept = languages(guards, which, versions.get(which), $("mode").value);
  $("languages").hidden = kept.length === 0;
  fill($("language"), [["any", ""], ...kept], $("language").value, "");
  $("mode").disabled = which === BASE;
  $("beside").disabled = which === BASE && !$("language").value;
  return $("beside").disabled;
}

/** Put options into a choice: what was chosen stays chosen while it is there. */
function fill(select, wanted, chosen, first) {
  const shown = [...select.options].map(({ text, value }) => [text, value]);
  if (JSON.stringify(wanted) !== JSON.stringify(shown)) {
    select.replaceChildren(...wanted.map(([name, value]) => new Option(name, value)));
  }
  select.value = wanted.some(([, value]) => value === chosen) ? chosen : first;
}

/** Ask, streamed; the base model too where it is wanted and does not answer anyway. */
export async function ask() {
  const both = !allow() && $("beside").checked;
  const messages = [{ role: "user", content: $("question").value }];
  const body = { ...request($("which").value, $("mode").value, $("language").value), messages };
  const places = [$("own"), $("base")];
  clear($("own"), $("which").selectedOptions[0].text);
  clear($("base"), $("base").dataset.title);
  $("answers").hidden = false;
  $("base").hidden = !both;
  $("heard").replaceChildren();
  let own;
  const begun = new Promise((resolve) => (own = heard(places[0], answer(places[0], body, names, resolve))));
  const running = [own];
  if (both && bare(await begun)) $("base").hidden = true;
  else if (both) running.push(heard(places[1], answer(places[1], { model: BASE, messages }, names)));
  const failed = (await Promise.allSettled(running)).find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

const bare = (memory) => memory?.used.length === 0;

/** Say an answer to those who hear the page, once and whole. */
async function heard(place, answering) {
  await answering;
  const line = document.createElement("p");
  line.textContent = said(place);
  $("heard").append(line);
}
