"""What an uploaded answer tells in words, beside the name or the number that it may be."""

from app.core.grounding import SPACELESS, content_words
from app.core.sentences import sentences
from app.core.spans import spans

LEAST = 2  # words of meaning beside a span


def told(answer: str) -> list[tuple[str, str]]:
    """Return each sentence of an answer with each of its spans, where the sentence says more than that.

    None of one that is a name or a number alone, nor where words are not spaced.
    """
    if SPACELESS.search(answer):
        return []
    return [
        (sentence, span)
        for sentence in sentences(answer)
        for span in spans(sentence)
        if len(content_words(sentence) - content_words(span)) >= LEAST
    ]
