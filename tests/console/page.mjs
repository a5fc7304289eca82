// A stand-in for a browser's page and the gateway behind it, enough to run the page's own modules.

const EMPTY = { value: "", textContent: "", hidden: false, checked: false, dataset: {}, options: [], files: [] };

class Part extends EventTarget {
  parts = new Map();
  children = [];
  classList = { add() {}, remove() {}, toggle() {} };
  isConnected = true;

  constructor(name = "") {
    super();
    Object.assign(this, structuredClone(EMPTY), { name });
  }

  querySelector(selector) {
    if (!this.parts.has(selector)) this.parts.set(selector, new Part(selector));
    return this.parts.get(selector);
  }

  get selectedOptions() {
    return this.options.filter(({ value }) => value === this.value);
  }

  get content() {
    return { firstElementChild: { cloneNode: () => new Part("li") } };
  }

  querySelectorAll = () => [];
  closest = () => null;
  setAttribute = () => {};
  removeAttribute = () => {};
  focus = () => {};
  reset = () => {};

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
    if (children[0] instanceof Option) this.options = children;
  }

  insertBefore(child, other) {
    child.list = this;
    this.children.splice(other ? this.children.indexOf(other) : this.children.length, 0, child);
  }

  remove() {
    this.isConnected = false;
    this.list.children.splice(this.list.children.indexOf(this), 1);
  }
}

class Option {
  constructor(text, value) {
    Object.assign(this, { text, value });
  }
}

/** Put a page in place; `gateway` answers each call: (method, path, options) -> Response or a promise of one. */
export function open(gateway) {
  const root = new Part("document");
  const seen = {
    reloads: 0,
    part: (selector) => root.querySelector(selector),
    names: () => root.querySelector("#memories").children.map((item) => item.querySelector(".name").textContent),
    act: (target, kind) => target.dispatchEvent(new Event(kind)),
    show(isSeen) {
      root.hidden = !isSeen;
      seen.act(root, "visibilitychange");
    },
  };
  root.getElementById = (id) => root.querySelector(`#${id}`);
  root.createElement = (name) => new Part(name);
  const kept = new Map([["lorekeep-key", "a-key"]]);
  Object.assign(globalThis, {
    document: root,
    Option,
    confirm: () => true,
    sessionStorage: {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => kept.set(name, value),
      removeItem: (name) => kept.delete(name),
    },
    location: { reload: () => (seen.reloads += 1) },
    setInterval() {},
    fetch: async (path, options = {}) => gateway(options.method ?? "GET", new URL(path, "http://gateway"), options),
  });
  return seen;
}

export const memory = (number, fields = {}) => ({
  id: `mem_${String(number).padStart(3, "0")}`,
  name: `memory ${number}`,
  status: "ready",
  version: 1,
  latest: 1,
  documents: [],
  updated_at: 0,
  scores: { questions: 0 },
  progress: { stage: "" },
  error: null,
  ...fields,
});

export const json = (body, status = 200) => new Response(JSON.stringify(body), { status });

/** Let everything run that waits for nothing outside. */
export async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
