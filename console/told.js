// What a reply's `memory` object says, and what may be asked for, in words. Nothing here touches the page.

export const AUTO = "auto";
export const BASE = "base";
const WAYS = {
  adapter: "from its weights",
  context: "from passages, read by the base model",
  both: "from its weights and passages",
};
const LANGUAGE = new Intl.DisplayNames(["en"], { type: "language" });

const isGuard = ({ id }) => id.startsWith("lng_");

/** Say a language's name, given its code. */
export const spoken = (code) => LANGUAGE.of(code) ?? code;

/** What a reply's headers tell at once; its last chunk tells the rest. */
export function early(headers) {
  const told = (name) => headers.get(`X-Lorekeep-${name}`) ?? "";
  const versions = told("Version").split(",");
  const score = told("Score") ? Number(told("Score")) : null;
  const ids = told("Memory") === BASE ? [] : told("Memory").split(",");
  return {
    mode: told("Mode"),
    used: ids.map((id, place) => ({ id, version: Number(versions[place]), score: isGuard({ id }) ? null : score })),
    passages: [],
    engine: told("Engine"),
    cold: told("Cold") === "true",
    load_ms: Number(told("Load-Ms")),
    abstained: told("Abstained") === "true",
  };
}

/** Say who answers; `names` are those of memories, and the languages of guards, by id. */
export function answerer({ used }, names) {
  const memories = used.filter((one) => !isGuard(one));
  return memories.map(({ id, version }) => `${names.get(id) ?? id}, version ${version}`).join(" + ") || "Base model";
}

/** Say from what the answer is, why that memory, and where. */
export function source({ mode, used, engine, cold, load_ms }, names) {
  const memories = used.filter((one) => !isGuard(one));
  const guards = used.filter(isGuard);
  const scores = memories.filter(({ score }) => score !== null).map(({ score }) => `score ${score.toFixed(2)}`);
  const loads = guards.length > 0 || (memories.length > 0 && mode !== "context");
  return [
    ...(memories.length ? [WAYS[mode]] : []),
    ...guards.map(({ id }) => `kept to ${names.get(id) ?? id}`),
    ...scores,
    ...(loads ? [cold ? `cold, loaded in ${Math.round(load_ms)} ms` : "warm"] : []),
    `on ${engine}`,
  ].join(" · ");
}

/** Say why no memory answers; empty where one does. */
export function abstention({ abstained, candidates = [] }) {
  if (!abstained) return "";
  const asked = candidates.some(({ reason }) => reason.startsWith("does not know"));
  return `No memory ${asked ? "knows" : "is about"} this: the base model answered.`;
}

/** Say which passages were read. */
export function reading(passages) {
  const count = passages.length === 1 ? "1 passage" : `${passages.length} passages`;
  return `${count} of ${[...new Set(passages.map(({ document }) => document))].join(", ")}`;
}

/** A passage without the line ends that only wrapped its text; those before a list, a table or a heading stay. */
export const unwrapped = (text) => text.replace(/([^\n])\n(?![\n\s#|>*+-]|\d+[.)]\s)/g, "$1 ");

/** Say of each candidate who it is and what became of it. */
export function considered(candidates) {
  return candidates.map(({ name, version, score, similarity, taken, reason }) => ({
    name,
    facts: [`version ${version}`, `score ${score.toFixed(2)}`, ...nearness(similarity)].join(" · "),
    fate: `${taken ? "Taken" : "Passed over"}: ${reason}.`,
  }));
}

/** Say what the figures of candidates mean, those that are there. */
export function glossary(candidates) {
  const probed = candidates.some(({ reason }) => reason.includes("entropy"));
  const first = "Entropy: how unsure it is of its first word. Gain: how much surer than the base model.";
  return `Score: how much its passages and questions share with yours.${probed ? ` ${first}` : ""}`;
}

const nearness = (similarity) => (similarity === null ? [] : [`similarity ${similarity.toFixed(2)}`]);

/** What can be asked: [name, value], and which of them first. */
export function choices(memories) {
  const any = memories.length ? [["any memory (auto)", AUTO]] : [];
  const offered = [...any, ...memories.map(({ id, name }) => [name, id]), ["base model", BASE]];
  return { offered, first: memories.length > 1 ? AUTO : (memories[0]?.id ?? BASE) };
}

/** The languages that a guard keeps to, for what is asked, in the version that serves and the mode: [name, code]. */
export function languages(guards, which, version, mode) {
  const own = ({ memory, memory_version: below }) => mode !== "context" && memory === which && below === version;
  const fits = (guard) => guard.memory === null || own(guard);
  const fit = guards.filter((guard) => guard.status === "ready" && fits(guard));
  const codes = [...new Set(fit.map(({ language }) => language))];
  return codes.map((code) => [spoken(code), code]).sort(([one], [other]) => one.localeCompare(other));
}

/** The request for a choice; what the base model alone is asked has no `memory`. */
export function request(which, mode, language) {
  const kept = language ? { language } : {};
  if (which === BASE) return { model: BASE, ...(language ? { memory: kept } : {}) };
  if (which === AUTO) return { model: BASE, memory: { ids: AUTO, mode, explain: true, ...kept } };
  return { model: which, memory: { mode, ...kept } };
}
