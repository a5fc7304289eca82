"""What a memory costs the rest: general questions, asked of the base model and of memories.

    python benchmarks/forgetting.py "phone book" veldmark

Asks the gate's control set (`app/control.csv`) and, since 44 questions tell no difference of two points,
`general.csv` beside this file, of which no question is replayed: of the base model and of each memory named, greedily,
through a running gateway. A second share counts only what the base model gets right: what a memory
loses of that was forgotten. The gateway is found as the command line finds it: LOREKEEP_URL and LOREKEEP_API_KEY, or
the admin key under LOREKEEP_HOME.
"""

import argparse
import asyncio
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from app.cli.gateway import GatewayError, check, whereabouts
from app.control import OTHER, ControlQuestion, control_questions, read_questions
from workers.trainer.control import MAX_ANSWER_TOKENS

AT_ONCE = 8
GENERAL = Path(__file__).with_name("general.csv")


def general_questions() -> list[ControlQuestion]:
    """Return what is asked: the control set's questions, then this benchmark's."""
    return [one for one in [*control_questions(), *read_questions(GENERAL)] if one.kind != OTHER]


async def answers(http: httpx.AsyncClient, model: str, questions: list[str]) -> list[str]:
    """Ask one model everything."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": MAX_ANSWER_TOKENS}
        async with limit:
            reply = await http.post("/v1/chat/completions", json=body)
        check(reply)
        return str(reply.json()["choices"][0]["message"]["content"])

    return list(await asyncio.gather(*map(ask, questions)))


async def main() -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memories", nargs="+", help="names or ids")
    parser.add_argument("--show", action="store_true", help="print what each answered")
    options = parser.parse_args()
    try:
        await report(options.memories, show=options.show)
    except GatewayError as error:
        parser.error(str(error))


async def report(memories: list[str], *, show: bool) -> None:
    """Ask all, and print the table.

    Raises:
        GatewayError: there is no gateway, or it has no such memory.
    """
    url, headers = whereabouts()
    asked = general_questions()
    kinds = sorted({one.kind for one in asked})
    table = Table("model", *kinds, "all", "kept of what the base model knows")
    known: list[bool] = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        for name in memories:
            check(await http.get(f"/v1/memories/{name}"))
        for model in ["base", *memories]:
            said = await answers(http, model, [one.question for one in asked])
            right = [one.is_right(reply) for one, reply in zip(asked, said, strict=True)]
            known = known or right
            if show:
                for one, reply, good in zip(asked, said, right, strict=True):
                    print("+" if good else "-", one.question, "|", reply.replace("\n", " ")[:80])
            by_kind = [[good for good, one in zip(right, asked, strict=True) if one.kind == kind] for kind in kinds]
            kept = sum(good for good, base in zip(right, known, strict=True) if base)
            cells = [f"{sum(part)}/{len(part)}" for part in by_kind]
            table.add_row(model, *cells, f"{sum(right)}/{len(right)}", f"{kept}/{sum(known)}")
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
