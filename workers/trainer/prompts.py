"""What the generator is shown: three examples, then the sentence; short, so that small models can follow."""

import re

Message = dict[str, str]

_EXAMPLES = (
    ("The bridge at Tarn was opened in 1931 by Ilse Brandt.", "1931", "In which year was the bridge at Tarn opened?"),
    ("The bridge at Tarn was opened in 1931 by Ilse Brandt.", "Ilse Brandt", "Who opened the bridge at Tarn?"),
    ("Members pay 40 euros a year for the Orla library.", "40 euros", "How much do members pay for the Orla library?"),
)


def asking(sentence: str, span: str) -> list[Message]:
    """Ask for a question about a sentence that a span of it answers."""
    return _chat([(_task(told, answer), question) for told, answer, question in _EXAMPLES], _task(sentence, span))


def answering(sentence: str, question: str) -> list[Message]:
    """Ask a question with the sentence it is about before it."""
    return _chat([(f"{told}\n{asked}", answer) for told, answer, asked in _EXAMPLES], f"{sentence}\n{question}")


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
