"""Which engine answers."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.routing import EngineView, choose

names = st.sampled_from("abcdef")
engines = st.lists(
    st.builds(
        EngineView,
        id=st.sampled_from(["e1", "e2", "e3", "e4"]),
        url=st.just("http://e"),
        resident=st.frozensets(names),
        active=st.dictionaries(names, st.integers(1, 5), max_size=3),
        in_flight=st.integers(0, 20),
        max_loras=st.integers(1, 3),
    ),
    unique_by=lambda engine: engine.id,
)


@given(engines, names)
def test_the_choice_never_evicts_an_adapter_in_use(fleet: list[EngineView], adapter: str) -> None:
    chosen = choose(fleet, adapter)

    if chosen is None:
        assert not any(engine.admits(adapter) for engine in fleet)
    else:
        assert chosen.admits(adapter)


@given(engines, names)
def test_an_engine_that_holds_the_adapter_goes_before_one_that_does_not(fleet: list[EngineView], adapter: str) -> None:
    chosen = choose(fleet, adapter)
    holders = [engine for engine in fleet if engine.admits(adapter) and adapter in engine.resident]

    if holders:
        assert chosen in holders
        assert chosen is not None
        assert chosen.in_flight == min(engine.in_flight for engine in holders)


@given(engines, names)
def test_the_order_of_the_fleet_does_not_matter(fleet: list[EngineView], adapter: str) -> None:
    assert choose(fleet, adapter) == choose(fleet[::-1], adapter)


@given(engines.filter(bool))
def test_the_base_model_always_finds_the_least_loaded_engine(fleet: list[EngineView]) -> None:
    chosen = choose(fleet, None)

    assert chosen is not None
    assert chosen.in_flight == min(engine.in_flight for engine in fleet)
