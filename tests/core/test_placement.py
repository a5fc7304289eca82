"""What an engine should hold."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.placement import evict, reconcile

names = st.sampled_from("abcdefgh")
desired = st.dictionaries(names, st.floats(0, 100))


@given(desired, st.frozensets(names), st.frozensets(names), st.integers(1, 4))
def test_doing_it_ends_within_capacity_and_doing_it_twice_changes_nothing(
    wanted: dict[str, float], resident: frozenset[str], pinned: frozenset[str], capacity: int
) -> None:
    first = reconcile(wanted, resident, pinned=pinned, capacity=capacity)
    after = (resident - set(first.remove)) | set(first.load)

    assert len(after) <= capacity
    assert after <= set(wanted)
    second = reconcile(wanted, after, pinned=pinned, capacity=capacity)
    assert (second.remove, second.load) == ((), ())


def test_pinned_adapters_stay_when_there_is_not_room_for_all() -> None:
    plan = reconcile({"old": 1.0, "new": 9.0}, {"new"}, pinned={"old"}, capacity=1)

    assert (plan.remove, plan.load) == (("new",), ("old",))


@given(desired, st.frozensets(names), st.frozensets(names))
def test_eviction_spares_the_busy_and_the_pinned_and_takes_the_least_recently_used(
    used_at: dict[str, float], busy: frozenset[str], pinned: frozenset[str]
) -> None:
    name = evict(used_at, busy=busy, pinned=pinned)
    free = set(used_at) - busy - pinned

    assert (name is None) == (not free)
    if name is not None:
        assert name in free
        assert used_at[name] == min(used_at[other] for other in free)
