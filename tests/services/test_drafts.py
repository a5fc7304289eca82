"""What a request leaves open is as in the version before; a memory without a name gets its document's."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.plan import Wish
from app.core.recipe import Recipe
from app.services.drafts import Ask, checked_name, name_from
from tests.factories import a_memory, a_version

WIDE = a_version(a_memory(), recipe=Recipe(rank=64, alpha=128).to_dict())


def test_a_version_with_parts_whose_plan_is_lost_had_no_rank_of_its_owners() -> None:
    names = ("acme.x.v1.1", "acme.x.v1.2")

    assert Ask().wish(dataclasses.replace(WIDE, parts=names)) == Wish(Recipe(rank=64, alpha=128))
    assert Ask().wish(WIDE).rank_given


def test_that_nothing_is_to_be_split_holds_until_somebody_says_otherwise() -> None:
    whole = dataclasses.replace(WIDE, plan={"rank_given": False, "target_recall": 0.9, "split": False})
    older = dataclasses.replace(WIDE, plan={"rank_given": False, "target_recall": 0.9})

    assert [Ask().wish(whole).split, Ask(split=True).wish(whole).split, Ask().wish(older).split] == [False, True, True]


def test_the_fields_of_a_recipe_that_are_named_change_and_the_others_stay() -> None:
    quick = Recipe.from_dict({"name": "quick", "seed": 7})
    before = a_version(a_memory(), recipe=quick.to_dict())

    assert Ask({"min_kept": 0.6}).wish(before) == Wish(dataclasses.replace(quick, min_kept=0.6))
    assert Ask({"epochs": 3}).wish(before).recipe == dataclasses.replace(quick, epochs=3, prose_epochs=3)
    assert Ask({"name": "thorough"}).wish(before).recipe == Recipe.from_dict({"name": "thorough"})
    assert Ask({"name": "balanced"}).wish(WIDE) == Wish()


def test_a_rank_that_was_given_stays_given_and_one_that_was_planned_gives_way_whole() -> None:
    planned = dataclasses.replace(WIDE, plan={"rank_given": False, "target_recall": 0.95})

    assert Ask({"epochs": 3}).wish(WIDE).rank_given
    assert Ask({"alpha": 16}).wish(WIDE).recipe == Recipe(rank=64, alpha=16)
    assert not Ask({"epochs": 3}).wish(planned).rank_given
    assert Ask({"rank": 8}).wish(planned) == Wish(Recipe(rank=8), rank_given=True)


@given(st.text())
@example("mem_notes.md")
@example("_lng_notes.md")
@example("base.md")
@example(".md")
def test_a_name_that_is_made_of_a_files_may_be_carried(document: str) -> None:
    name = name_from(document)

    assert checked_name(name) == name


@pytest.mark.parametrize(("document", "stem"), [("mem_notes_2.md", "mem-notes_2"), ("base.md", "base")])
def test_a_name_that_is_made_of_a_files_is_like_it(document: str, stem: str) -> None:
    assert name_from(document).rpartition(" ")[0] == stem
