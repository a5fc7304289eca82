"""What a request leaves open is as in the version before."""

import dataclasses

from app.core.plan import Wish
from app.core.recipe import Recipe
from app.services.drafts import Ask
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
