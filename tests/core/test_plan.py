"""The capacity plan: which rank, how many adapters, how long, and what to expect."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.capacity import PRIOR, Base, Law, conditions_of, law_for
from app.core.load import Facts, Load
from app.core.plan import Plan, Wish, make_plan, planned_recipe, ranks_up_to
from app.core.recipe import Recipe
from tests.core.laws import laws
from tests.factories import SHAPE

LAW = dataclasses.replace(
    PRIOR, knee_tokens=1500.0, reference=2e5, power=0.6, spread=0.1, power_spread=0.05,
    base=SHAPE.digest, conditions=conditions_of(Recipe()), points=12,
)  # fmt: skip
CALIBRATED = Base(SHAPE, LAW, tokens_per_s=1400.0)


def plan(tokens: int, base: Base = CALIBRATED, *, max_rank: int = 64, **wish: object) -> Plan:
    load = Load(Facts(pairs=max(1, tokens // 21)), pair_tokens=tokens)
    return make_plan(load, base, dataclasses.replace(Wish(), **wish), max_rank=max_rank)  # type: ignore[arg-type]


@given(laws, st.integers(1, 10**6), st.floats(0.01, 0.99), st.sampled_from([8, 16, 64, 320, 512]))
def test_a_plan_reaches_its_target_whenever_some_rank_does_and_with_the_smallest(
    law: Law, tokens: int, target: float, max_rank: int
) -> None:
    made = plan(tokens, Base(SHAPE, law), max_rank=max_rank, target_recall=target)
    enough = [
        one for one in ranks_up_to(max_rank) if law.recall(tokens, SHAPE.lora_parameters(one, Recipe())) >= target
    ]

    if enough:
        assert (made.rank, made.partitions) == (enough[0], 1)
        assert made.recall >= round(target, 3)
    else:
        assert made.rank == max_rank
        assert made.partitions > 1 or made.recall_high >= round(target, 3)
    if made.partitions > 1:
        assert made.recall >= round(target, 3)


def test_the_ranks_are_the_defaults_doubled_up_to_what_engines_take() -> None:
    assert [ranks_up_to(most) for most in (8, 16, 64, 320)] == [[8], [16], [16, 32, 64], [16, 32, 64, 128, 256, 320]]


def test_a_small_upload_keeps_the_default_recipe() -> None:
    made = plan(1000)

    assert planned_recipe(Recipe(), made) == Recipe()
    assert (made.partitions, made.calibrated, made.recall > 0.95) == (1, True, True)


def test_a_larger_upload_gets_a_higher_rank_and_keeps_the_scale() -> None:
    made = plan(2000)

    assert (made.rank, made.alpha, made.partitions) == (32, 64, 1)
    assert made.parameters == SHAPE.lora_parameters(32, Recipe())
    assert made.adapter_mb == pytest.approx(made.parameters * 2 / 1e6, abs=1e-3)


def test_what_no_rank_holds_is_split_into_parts_that_each_reach_the_target() -> None:
    made = plan(100_000, max_rank=16)

    assert made.partitions == -(-100_000 // made.most_tokens)
    assert made.partitions > 10
    assert made.recall >= 0.95


def test_a_rank_that_was_given_is_kept_and_told_what_it_will_do() -> None:
    made = plan(100_000, rank_given=True, recipe=Recipe(rank=4, alpha=8))

    assert (made.rank, made.alpha, made.partitions) == (4, 8, 1)
    assert made.recall < 0.1


@pytest.mark.parametrize("recipe", [Recipe(focus_below=0.5), Recipe(layers_from=0.25), Recipe(alpha=16)])
def test_a_law_fitted_for_another_way_of_training_is_less_sure(recipe: Recipe) -> None:
    law, is_its_own = law_for(CALIBRATED, recipe)

    assert not is_its_own
    assert law == dataclasses.replace(LAW, spread=PRIOR.spread)


@pytest.mark.parametrize(
    "fields", [{"min_gain": 0.3}, {"max_leaked": 0.1}, {"gap_rounds": 0}, {"summaries_per_passage": 2}]
)
def test_what_the_gate_asks_and_a_generator_words_leaves_the_law_as_it_is(fields: dict[str, float]) -> None:
    assert law_for(CALIBRATED, Recipe.from_dict(fields)) == (LAW, True)


def test_steps_follow_from_the_exposures_of_each_fact() -> None:
    made = plan(2100)

    assert (made.facts, made.exposures_per_fact) == (100, 40)
    assert made.steps == 14 * 40  # 100 rows, and 10 replayed, make 14 batches of at most 8
    assert plan(42).exposures_per_fact == 120  # two facts make one batch: 120 steps are the least


def test_the_time_is_that_of_the_rows_with_their_template() -> None:
    made = plan(2100)

    assert made.estimated_s == round(Recipe().step_cost * 40 * (2100 + 100 * 32 + 10 * (32 + 40)) / 1400, 1)
    assert plan(2100, Base(SHAPE, LAW)).estimated_s is None


@pytest.mark.parametrize(
    ("tokens", "base", "recipe"),
    [
        (600_000, Base(SHAPE), Recipe()),
        (3000, Base(dataclasses.replace(SHAPE, digest="c" * 64), LAW), Recipe()),
        (3000, CALIBRATED, Recipe(epochs=10)),
        (3000, CALIBRATED, Recipe(rank=4)),
    ],
    ids=["no law", "another base model", "another recipe", "another scale"],
)
def test_a_law_that_was_not_fitted_for_this_is_said_to_be_no_calibration_and_is_less_sure(
    tokens: int, base: Base, recipe: Recipe
) -> None:
    made = plan(tokens, base, recipe=recipe, rank_given=True)

    assert not made.calibrated
    assert made.recall_high - made.recall_low > 0.3


def test_fields_of_prose_and_the_seed_leave_a_law_as_it_is() -> None:
    assert plan(3000, recipe=Recipe(seed=4, keyword_questions=3, rank=4, alpha=8), rank_given=True).calibrated


def test_without_a_calibration_what_may_be_held_is_not_refused() -> None:
    made = plan(400_000, Base(SHAPE), max_rank=16)

    assert (made.rank, made.partitions) == (16, 1)
    assert made.recall < 0.95 < made.recall_high


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_target_of_nothing_or_everything_has_a_plan(target: float) -> None:
    assert plan(3000, target_recall=target).rank >= 16
