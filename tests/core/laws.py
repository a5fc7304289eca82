"""Laws of every kind, for properties that hold for all of them."""

from hypothesis import strategies as st

from app.core.capacity import Law, conditions_of
from app.core.recipe import Recipe
from tests.factories import SHAPE

laws = st.builds(
    Law,
    knee_tokens=st.floats(1, 1e6),
    reference=st.floats(1e3, 1e8),
    power=st.floats(0, 1),
    slope=st.floats(0.1, 20),
    spread=st.floats(0, 2),
    power_spread=st.floats(0, 1),
    base=st.just(SHAPE.digest),
    conditions=st.just(conditions_of(Recipe())),
)
