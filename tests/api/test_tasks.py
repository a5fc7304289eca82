"""What may hang is looked at once, and waited for no longer than one likes."""

import asyncio
import threading

from app.api.tasks import Look


async def test_what_hangs_is_looked_at_once_however_many_ask() -> None:
    looked, answers = [], threading.Event()

    def look() -> bool:
        looked.append(True)
        return answers.wait(timeout=10)

    store = Look(look)
    hanging = await asyncio.gather(*[store.within(0.01) for _ in range(10)])
    answers.set()
    answered = await store.within(10)
    again = await store.within(10)

    assert hanging == [None] * 10
    assert (answered, again) == (True, True)
    assert len(looked) == 2
