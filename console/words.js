// Figures as people say them.

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** Say how long ago a moment was, given in seconds since the epoch. */
export function ago(moment) {
  const seconds = Math.max(0, Date.now() / 1000 - moment);
  const [unit, length] = UNITS.find(([, least]) => seconds >= least) ?? [];
  return unit ? AGO.format(-Math.floor(seconds / length), unit) : "just now";
}

/** Say how much a number of bytes is. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Say how long a number of seconds is. */
export function duration(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export const percent = (share) => `${Math.round(share * 100)}%`;

/** Say what a version's scores are shares of, and how it went with its parts where it has some. */
export function asked({ questions, kind, parts, routed, recall, recall_questions: trained }) {
  const which = kind === "recall" ? "trained" : "unseen";
  const right = `Right answers to ${questions} ${which} question${questions === 1 ? "" : "s"}`;
  const told = trained ? `${right}; ${percent(recall)} of ${trained} trained.` : `${right}.`;
  return parts > 1 ? `${told} It has ${parts} parts: the right one was picked for ${percent(routed)}.` : told;
}
