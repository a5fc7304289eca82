"""What the generator is shown: for questions three examples and the sentence, short, so that small models can follow;
for longer texts the passage and what to write."""

import re
from collections.abc import Sequence
from typing import NamedTuple

Message = dict[str, str]
FORMAT = 2  # counted up when wording or filters change: what was generated before is then asked for again


class Shot(NamedTuple):
    """A question that was asked well."""

    sentence: str
    answer: str
    question: str


MOST_SHOTS = 6  # of the document's own: more than these crowd a small model's prompt
_EXAMPLES = (
    Shot(
        "The bridge at Tarn was opened in 1931 by Ilse Brandt.", "1931", "In which year was the bridge at Tarn opened?"
    ),
    Shot("The bridge at Tarn was opened in 1931 by Ilse Brandt.", "Ilse Brandt", "Who opened the bridge at Tarn?"),
    Shot(
        "Members pay 40 euros a year for the Orla library.", "40 euros", "How much do members pay for the Orla library?"
    ),
)

_OWN = "Use only what the passage says, and its language."
SUMMARY = (
    f"Summarise this passage faithfully, in the order in which it tells things. {_OWN} Reply with the summary alone."
)
REWRITE = f"Rewrite this passage in other words. Keep every fact, name and number. {_OWN} Reply with the text alone."
IMPLICATIONS = (
    f"List {{count}} statements that follow from this passage, directly or taken together, one a line. Each names what "
    f"it is about. {_OWN}"
)
RELATION = f"How are {{}} and {{}} related according to this passage? Answer in one or two sentences. {_OWN}"
REQUEST = (
    "{seed} It must make sense to somebody who does not see the passage, so it names what it is about. Write it in the "
    "passage's language and reply with it alone, on one line."
)
ANSWER = f"{{request}}\n{_OWN}"
SEEDS = (  # Cartridges, section 4.1: structuring, summarisation, question, use case, creative
    "Write one request for facts of this passage as a list or a table.",
    "Write one request to summarise a part of this passage.",
    "Write one question that tests whether somebody knows a detail of this passage.",
    "Think of somebody who needs to know what this passage says, and write the one question they would ask.",
    "Write one creative request about what this passage says.",
)


def asking(sentence: str, span: str, so_far: Sequence[Shot] = ()) -> list[Message]:
    """Ask for a question about a sentence that a span of it answers.

    Args:
        so_far: questions that this one is missing among.
    """
    shots = [*_EXAMPLES, *so_far[-MOST_SHOTS:]]
    return _chat([(_task(one.sentence, one.answer), one.question) for one in shots], _task(sentence, span))


def answering(sentence: str, question: str) -> list[Message]:
    """Ask a question with the sentence it is about before it."""
    return _chat([(f"{one.sentence}\n{one.question}", one.answer) for one in _EXAMPLES], f"{sentence}\n{question}")


def about(passage: str, instruction: str) -> list[Message]:
    """Ask for something about a passage."""
    return _chat([], f"Passage:\n{passage}\n\n{instruction}")


def confirming(passage: str, text: str) -> list[Message]:
    """Ask whether a text follows from a passage."""
    return about(passage, f"Statement:\n{text}\n\nDoes the passage say so? Reply yes or no.")


def first_question(text: str) -> str:
    """Return the first question in a reply, or nothing."""
    match = re.search(r"[^\n?？؟]*[?？؟]", text)
    return match.group(0).strip(' -*"“”:') if match else ""


def _task(sentence: str, span: str) -> str:
    return f'Sentence: {sentence}\nWrite one question about this sentence whose answer is "{span}".'


def _chat(shots: list[tuple[str, str]], last: str) -> list[Message]:
    messages: list[Message] = []
    for task, reply in shots:
        messages += [{"role": "user", "content": task}, {"role": "assistant", "content": reply}]
    return [*messages, {"role": "user", "content": last}]
