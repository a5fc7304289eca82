"""How to train: a frozen, named, serialisable value, saved beside the weights it made."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from app.core.errors import InvalidValue
from app.core.fields import TARGETS, check_types, check_values

ANSWERS = ("sentence", "span")
LOSS_ON = ("answer", "all")
NAMES = ("quick", "balanced", "thorough")
THRESHOLDS = frozenset(  # the gate's
    {"min_gain", "min_recall", "min_kept", "max_perplexity_rise", "max_leaked", "seeds"}
)


@dataclass(frozen=True)
class Recipe:
    """One way of writing documents into a LoRA.

    Attributes:
        name: the preset it began as, one of `NAMES`.
        rank: width of the LoRA products, 1-512.
        alpha: LoRA scale; the update is multiplied by alpha / rank.
        target: which linear layers carry a LoRA: one of `TARGETS`.
        layers_from: the decoder's layers below this share of them carry none: what they say of an example never
            changes, so it is computed once (`workers.trainer.below`).
        prose_layers_from: the same where anything but pairs is among the documents, which takes more of the layers.
        layer_share: how many carry one from there on, as a share of all, at least one.
        learning_rate: AdamW's peak, reached after `warmup_ratio` of the steps, left for the last `decay_ratio` of them.
        prose_learning_rate: the same where anything but pairs is among the documents.
        lr_ratio: the learning rate of a LoRA's B as a multiple of A's, which is `learning_rate`.
        cool_below: while the mean answer loss of what is taught (nats per token) is below this, the learning rate falls
            in proportion to it, to a tenth at least; 0 never lowers it.
        epochs: at most this many passes over the examples.
        prose_epochs: the same where no pairs are among them: each sentence is asked for several things in a pass.
        min_steps: a lower bound on the steps that raises the number of passes where the examples are few.
        stop_loss: stop after an epoch at whose end the mean answer loss (nats per token) is below this and every answer
            token is likelier than one half; 0 never stops by it.
        rest_above: an example whose every answer token was likelier than this, 0-1, is left out of the next pass and
            looked at again in the one after; training ends as well once all are; 0 never leaves one out.
        loss_on: "answer", or "all": prompts are learned as well.
        focus_below: only tokens whose probability is below this are learned, 0-1; 0 learns all of them.
        distillation: how much of the loss on answers made of a passage is a teacher's: the base model with the passage
            in its prompt; 0-1, 0 asks no teacher.
        hidden_weight: weight of the distance from the teacher's hidden states; 0 leaves it out.
        patience: end after so many epochs that brought held-out answers no nearer, and keep the best; half of what is
            held out is for that, and not for the gate; 0 does not ask.
        passage_tokens: length of a passage in tokens of the base model.
        passage_overlap_tokens: tokens that two neighbouring passages share.
        questions_per_passage: how many questions the generator is asked for; 0 asks for none.
        keyword_questions: how many questions are made of each span's own sentence; they take turns, one an epoch.
        pair_wordings: in how many other words a pair is asked whose answer says more than a name or a number; they take
            turns, one an epoch.
        summaries_per_passage, rewrites_per_passage, implications_per_passage, relations_per_passage,
            self_study_per_passage: how many texts of each kind the generator is asked for.
        gap_rounds: how often the generator is asked again for the facts that it has worded no question for.
        answers: how questions made of prose are answered: with the whole sentence, or with the words asked for alone.
        replay: how many general questions and texts, in the base model's own words, are shown for each example.
        prose_replay: the same where anything but pairs is among the documents.
        replay_weight: how much of the gradient a token of these has beside one of an example.
        protect: share of what each layer is given on general questions and texts that the LoRA is kept from reading
            (`workers.trainer.null_space`); 0 lets it read everything.
        consolidation: how much of the loss is what the LoRA is likely to move of the base model's general answers, in
            nats a token (`workers.trainer.curvature`); 0 leaves it out.
        prose_protect, prose_consolidation: the same where anything but pairs is among the documents.
        min_gain: how much greater a share of its questions a candidate must answer than the base model, 0-1.
        min_recall: what a candidate must recall of pairs, and of what else it was trained on that is asked because
            little or nothing was held out; a share, 0-1.
        min_kept: what it must keep of the general questions that the base model answers right; a share, 0-1.
        max_perplexity_rise: of plain text above the base model's, in nats per token.
        max_leaked: share of general questions, 0-1, that it may answer with something from its documents, and of those
            about things that no memory holds.
        seed: of initialisation, shuffling and generation.
        seeds: how many seeds, counted up from that one, may be tried until a candidate passes its gate.
    """

    name: str = "balanced"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: str = "mlp"
    layers_from: float = 0.5
    prose_layers_from: float = 0.0
    layer_share: float = 1.0
    learning_rate: float = 1.5e-3
    prose_learning_rate: float = 1e-3
    lr_ratio: float = 8.0
    cool_below: float = 0.3
    weight_decay: float = 0.0
    warmup_ratio: float = 0.05
    decay_ratio: float = 0.3
    max_grad_norm: float = 1.0
    epochs: int = 40
    prose_epochs: int = 25
    batch_size: int = 8
    min_steps: int = 120
    stop_loss: float = 0.003
    rest_above: float = 0.95
    patience: int = 0
    loss_on: str = "answer"
    focus_below: float = 0.0
    distillation: float = 0.0
    hidden_weight: float = 0.0
    passage_tokens: int = 192
    passage_overlap_tokens: int = 32
    questions_per_passage: int = 3
    keyword_questions: int = 12
    pair_wordings: int = 12
    summaries_per_passage: int = 0
    rewrites_per_passage: int = 0
    implications_per_passage: int = 0
    relations_per_passage: int = 0
    self_study_per_passage: int = 0
    gap_rounds: int = 1
    answers: str = "sentence"
    replay: float = 0.1
    prose_replay: float = 0.3
    replay_weight: float = 4.0
    protect: float = 0.99
    prose_protect: float = 0.9
    consolidation: float = 0.0
    prose_consolidation: float = 60.0
    min_gain: float = 0.1
    min_recall: float = 0.5
    min_kept: float = 0.7
    max_perplexity_rise: float = 4.0
    max_leaked: float = 0.25
    seed: int = 0
    seeds: int = 2

    def __post_init__(self) -> None:
        check_values(self, _RANGES, _CHOICES)
        if self.passage_overlap_tokens >= self.passage_tokens:
            raise InvalidValue("recipe.passage_overlap_tokens must be below recipe.passage_tokens.")

    @property
    def needs_teacher(self) -> bool:
        """Say whether a teacher is asked."""
        return self.distillation > 0 or self.hidden_weight > 0

    def layers(self, count: int) -> range:
        """Return the numbers of the layers that carry a LoRA, of a decoder that has `count`."""
        first = min(round(self.layers_from * count), count - 1)
        return range(first, min(count, first + max(1, round(self.layer_share * count))))

    @property
    def step_cost(self) -> float:
        """About what a step costs, in (0, 1], of one with a LoRA in every layer; without any the output is left."""
        return 0.15 + 0.85 * (1 - self.layers_from)

    def suited(self, *, pairs: bool, prose: bool) -> Self:
        """Return the recipe with what it has for pairs or for prose, whichever is learned."""
        return dataclasses.replace(
            self,
            epochs=self.epochs if pairs else self.prose_epochs,
            layers_from=self.prose_layers_from if prose else self.layers_from,
            learning_rate=self.prose_learning_rate if prose else self.learning_rate,
            replay=self.prose_replay if prose else self.replay,
            protect=self.prose_protect if prose else self.protect,
            consolidation=self.prose_consolidation if prose else self.consolidation,
        )

    def batches(self, rows: float) -> int:
        """Return how many steps an epoch of so many rows takes: shared out evenly, `batch_size` at a time or about.

        A remainder would be a step of its own, which takes about as long as a whole one and teaches little.
        """
        return max(1, round(rows / self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any], over: "Recipe | None" = None) -> Self:
        """Build a recipe from `fields` and, for the others, the preset that `name` is, else `over`, else the default.

        Where `epochs` or another field that has a twin for prose is given alone it is meant for prose as well.

        Raises:
            InvalidValue: an unknown field, a wrong type or a value out of range.
        """
        check_types(cls, fields)
        meant = {f"prose_{name}": fields[name] for name in _FOR_PROSE if name in fields}
        others = over.to_dict() if over and "name" not in fields else PRESETS.get(fields.get("name", ""), {})
        return cls(**{**others, **meant, **fields})


def training_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe changes weights: a retry with other thresholds need not train again."""
    return {field: value for field, value in recipe.items() if field not in THRESHOLDS}


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 24, "prose_epochs": 16, "stop_loss": 0.01, "questions_per_passage": 0},
    "thorough": {
        "epochs": 80,
        "prose_epochs": 50,
        "stop_loss": 0.001,
        "questions_per_passage": 16,
        "keyword_questions": 24,
    },
}
_CHOICES = {"name": NAMES, "target": TARGETS, "answers": ANSWERS, "loss_on": LOSS_ON}
# there is another of each, for prose
_FOR_PROSE = ("epochs", "layers_from", "learning_rate", "replay", "protect", "consolidation")
_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 512),
    "alpha": (1, 4096),
    "dropout": (0.0, 0.9),
    "layers_from": (0.0, 1.0),
    "prose_layers_from": (0.0, 1.0),
    "layer_share": (0.0, 1.0),
    "learning_rate": (1e-7, 1.0),
    "prose_learning_rate": (1e-7, 1.0),
    "lr_ratio": (0.01, 100.0),
    "cool_below": (0.0, 10.0),
    "weight_decay": (0.0, 1.0),
    "warmup_ratio": (0.0, 0.9),
    "decay_ratio": (0.0, 1.0),
    "max_grad_norm": (0.01, 1000.0),
    "epochs": (1, 1000),
    "prose_epochs": (1, 1000),
    "batch_size": (1, 1024),
    "min_steps": (1, 100_000),
    "stop_loss": (0.0, 10.0),
    "rest_above": (0.0, 0.999),
    "patience": (0, 1000),
    "focus_below": (0.0, 1.0),
    "distillation": (0.0, 1.0),
    "hidden_weight": (0.0, 100.0),
    "passage_tokens": (16, 8192),
    "passage_overlap_tokens": (0, 4096),
    "questions_per_passage": (0, 128),
    "keyword_questions": (0, 1000),
    "pair_wordings": (0, 1000),
    "summaries_per_passage": (0, 16),
    "rewrites_per_passage": (0, 16),
    "implications_per_passage": (0, 64),
    "relations_per_passage": (0, 64),
    "self_study_per_passage": (0, 64),
    "gap_rounds": (0, 8),
    "replay": (0.0, 10.0),
    "prose_replay": (0.0, 10.0),
    "replay_weight": (0.0, 100.0),
    "protect": (0.0, 0.999),
    "prose_protect": (0.0, 0.999),
    "consolidation": (0.0, 10_000.0),
    "prose_consolidation": (0.0, 10_000.0),
    "min_gain": (0.0, 1.0),
    "min_recall": (0.0, 1.0),
    "min_kept": (0.0, 1.0),
    "max_perplexity_rise": (-100.0, 100.0),
    "max_leaked": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
    "seeds": (1, 16),
}
