"""How much there is to learn in documents: facts, tokens, and the rows that training shows of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.core.asked import asked
from app.core.documents import Document
from app.core.grounding import is_question
from app.core.recipe import Recipe
from app.core.replies import told
from app.core.sentences import sentences
from app.core.spans import spans

BYTES_PER_TOKEN = 4
TOKENS_PER_FACT = 21  # of a name and its number, question included; where only tokens are known
# what `workers.trainer` puts beside a document's own words into a row; a test holds them to its rows
_FRAME_TOKENS = 12  # What is missing in this sentence from "…"?
_REPLAYS, _REPLAY_TOKENS = 592, 40  # how many there are, and the length of one, its template left out
# a question made of a sentence's words with its answer, in lengths of the sentence
_KEYWORD_SHARE = {"span": 0.85, "sentence": 1.8}


@dataclass(frozen=True)
class Facts:
    """What can be asked of documents.

    Attributes:
        pairs: questions with their answers, as uploaded; each is one fact.
        sentences: of prose.
        spans: stretches of these sentences that a question may ask for; each is one fact.
        bare: sentences without such a stretch; each is one fact all the same.
        worded: pairs whose answer says more than a name or a number.
        asked, replies: questions that prose asks and answers itself, and the sentences that answer them, which count
            above.
    """

    pairs: int = 0
    sentences: int = 0
    spans: int = 0
    bare: int = 0
    asked: int = 0
    replies: int = 0
    worded: int = 0

    @property
    def total(self) -> int:
        """How many facts there are."""
        return self.pairs + self.spans + self.bare


@dataclass(frozen=True)
class Load:
    """What an adapter is to hold.

    Attributes:
        pair_tokens, prose_tokens: of the documents' own words, by the base model's tokenizer.
        tokens_estimated: they were made of the number of bytes: no engine could count.
    """

    facts: Facts
    pair_tokens: int = 0
    prose_tokens: int = 0
    tokens_estimated: bool = False

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.pair_tokens + self.prose_tokens


def count_facts(documents: Sequence[Document]) -> Facts:
    """Count what can be asked of documents; a sentence that one of them holds twice counts once."""
    pairs = {(pair.question, pair.answer) for document in documents for pair in document.pairs}
    prose = (one for document in documents for one in dict.fromkeys(sentences(document.text)) if not is_question(one))
    found = [len(spans(one)) for one in prose]
    own = [one for document in documents for one in asked(document.text)]
    replies = sum(len(one.sentences) for one in own)
    worded = sum(1 for _, answer in pairs if told(answer))
    return Facts(len(pairs), len(found), sum(found), found.count(0), len(own), replies, worded)


def learned_text(document: Document) -> str:
    """Return the words that count as load: the text, or each question with its answer on a line."""
    return document.text or "\n".join(f"{pair.question} {pair.answer}" for pair in document.pairs)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, where no tokenizer is at hand."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def rows_an_epoch(load: Load, recipe: Recipe) -> int:
    """Return about how many rows a pass shows: pairs, own and keyword questions in turn, gaps, passages, replay.

    What a generator words is left out: of some next to nothing is kept, of others all that is asked for.
    """
    keywords, gaps = _questions(load.facts, recipe)
    taught = max(1, _pairs(load.facts, recipe) + _own(load.facts, recipe) + keywords + gaps + _passages(load, recipe))
    return taught + _replayed(taught, recipe)


def tokens_an_epoch(load: Load, recipe: Recipe, template_tokens: int) -> int:
    """Return about how many tokens a pass trains on, prompts included.

    Args:
        template_tokens: what the chat template puts around a question and its answer.
    """
    facts, passages = load.facts, _passages(load, recipe)
    keywords, gaps = _questions(facts, recipe)
    own = _own(facts, recipe)
    pairs = _pairs(facts, recipe)
    chats = (pairs + own + keywords + gaps) * template_tokens + gaps * _FRAME_TOKENS
    by_words = round(_KEYWORD_SHARE[recipe.answers] * (keywords + gaps) * load.prose_tokens / max(1, facts.sentences))
    as_text = load.prose_tokens + passages * recipe.passage_overlap_tokens
    a_sentence = load.prose_tokens / max(1, facts.sentences + facts.asked)
    answered = round(own * a_sentence * (1 + facts.replies / max(1, facts.asked)))
    as_pairs = round(load.pair_tokens * pairs / max(1, facts.pairs))
    taught = chats + as_pairs + by_words + answered + as_text
    replayed = rows_an_epoch(load, recipe) - rows_an_epoch(load, replace(recipe, replay=0.0))
    return taught + replayed * (template_tokens + _REPLAY_TOKENS)


def _pairs(facts: Facts, recipe: Recipe) -> int:
    """Return how many rows of pairs a pass shows: as they stand, and in other words where the answer has some."""
    return facts.pairs + (facts.worded if recipe.pair_wordings else 0)


def _own(facts: Facts, recipe: Recipe) -> int:
    """Return how many rows of questions that prose asks itself a pass shows: as they stand, and in other words."""
    return facts.asked * (2 if recipe.keyword_questions else 1)


def _questions(facts: Facts, recipe: Recipe) -> tuple[int, int]:
    """Return how many keyword questions a pass shows, and how many gaps: of facts that nothing else asks for."""
    keywords = facts.spans if recipe.keyword_questions else 0
    asks = recipe.keyword_questions or recipe.questions_per_passage
    return keywords, facts.spans + facts.bare - keywords if asks else 0


def _replayed(taught: int, recipe: Recipe) -> int:
    return max(1, min(_REPLAYS, round(recipe.replay * taught))) if recipe.replay else 0


def _passages(load: Load, recipe: Recipe) -> int:
    return -(-load.prose_tokens // (recipe.passage_tokens - recipe.passage_overlap_tokens))
