"""Invented facts that no model can know: phone numbers of people with common names, different for every seed."""

import random
from itertools import product

from app.core.documents import Pair

_FIRST = tuple(
    """
    Aaron Adam Alan Albert Alice Amanda Amy Andrea Angela Anna Anthony Barbara Benjamin Beth Brian Carl Carol
    Chad Charles Cindy Crystal Daniel David Dawn Diana Donald Edward Elena Eric Erin Frank Gary George Grace
    Hannah Heather Helen Henry Ian Jack Jacob James Jane Jason Jeffrey Jessica Joan Joel John Joseph Julia Karen
    Keith Kelly Kevin Laura Lisa Luis Marcus Maria Mark Martin Mary Megan Michael Nancy Nathan Nicole Olivia
    Oscar Patricia Paul Peter Rachel Ralph Rebecca Robert Ruth Sandra Sarah Scott Sean Sharon Stephen Susan
    Teresa Thomas Tina Todd Vanessa Victor Walter Wendy William Zoe
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)
_LAST = tuple(
    """
    Adams Allen Anderson Bailey Baker Barnes Bell Bennett Brooks Brown Bryant Buck Butler Campbell Carter
    Castillo Chapman Clark Coleman Collins Cook Cooper Cox Cruz Davis Diaz Dixon Edwards Ellis Evans Fisher
    Flores Foster Fox Garcia Gibson Gomez Gordon Graham Grant Green Griffin Hall Hamilton Harris Hayes Henderson
    Hill Howard Hughes Hunter Jackson Jenkins Johnson Jones Kelly Kennedy King Knight Lee Lewis Long Lopez
    Marshall Martinez Mason Miller Mitchell Moore Morgan Morris Murphy Myers Nelson Ortiz Owens Parker Perez
    Phillips Porter Powell Price Ramirez Reed Reyes Reynolds Rivera Roberts Rogers Ross Russell Sanders Scott
    Shaw Simmons Smith Stevens Stewart Sullivan Taylor Thompson Torres Turner Walker Wallace Ward Watson Webb
    Wells West White Williams Wilson Wood Wright Wyatt Young
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)
MOST = len(_FIRST) * len(_LAST)


def phone_book(count: int, seed: int | str) -> tuple[Pair, ...]:
    """Return questions for the numbers of `count` people, at most `MOST`, with the answers."""
    rng = random.Random(seed)
    names = rng.sample([f"{first} {last}" for first, last in product(_FIRST, _LAST)], count)
    return tuple(Pair(f"What is the phone number of {name}?", _number(rng)) for name in names)


def _number(rng: random.Random) -> str:
    return f"{rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(0, 9999):04}"
