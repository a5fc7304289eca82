import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, asked, duration, percent, size } from "../../console/words.js";

test("times, sizes and shares are said as people say them", () => {
  const now = Date.now() / 1000;
  assert.deepEqual([ago(now), ago(now - 90), ago(now - 86400)], ["just now", "1 minute ago", "yesterday"]);
  assert.deepEqual([size(999), size(5214), size(2.5e6)], ["999 bytes", "5 kB", "2.5 MB"]);
  assert.deepEqual([duration(4.2), duration(75), duration(3700)], ["5 s", "1 min 15 s", "1 h 1 min"]);
  assert.equal(percent(0.875), "88%");
});

test("scores say of which questions they are, and what became of parts", () => {
  assert.equal(asked({ kind: "held_out", questions: 16 }), "Right answers to 16 unseen questions.");
  assert.equal(asked({ kind: "recall", questions: 1 }), "Right answers to 1 trained question.");
  assert.equal(
    asked({ kind: "held_out", questions: 16, recall: 0.75, recall_questions: 32 }),
    "Right answers to 16 unseen questions; 75% of 32 trained.",
  );
  assert.equal(
    asked({ kind: "held_out", questions: 16, parts: 3, routed: 0.91 }),
    "Right answers to 16 unseen questions. It has 3 parts: the right one was picked for 91%.",
  );
});
