"""`python -m workers.engine`: one engine, that is vLLM as a child and its agent.

Exit status: 0 after SIGTERM or SIGINT, 2 where it cannot start (one sentence on stderr), 1 when vLLM died or a newer
agent took over: start it again.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import structlog
from filelock import AsyncFileLock, FileLock, Timeout

from app.core.engines import EngineRecord
from app.core.names import BASE
from app.engines.client import EngineClient, engine_http
from app.errors import StartupError
from app.logs import set_up_logs
from app.processes import adopt_orphans, exit_code_of
from app.secret_files import engine_key
from app.settings import Settings, load_settings, url_of
from app.stores.engines import EngineStore
from app.stores.redis import connect
from workers.base_model import base_digest, find_base, serving_template
from workers.engine.agent import Agent, Superseded
from workers.engine.process import VllmProcess, clear_orphans
from workers.engine.serve import build_command, build_environment, check_settings, installed_vllm, pick_device

log = structlog.get_logger()

_STOP_S = 20.0  # what vLLM gets to end politely
_POLL_S = 0.25
_WARM_UP = {  # vLLM compiles some of its steps at their first use: a canary's would take 15 s on two cores
    "model": BASE,
    "prompt": [1, 2, 3, 4],
    "max_tokens": 2,
    "temperature": 0,
    "logprobs": 0,
    "allowed_token_ids": [5],
}


def main() -> int:
    """Run one engine until a signal or its death; returns the exit code."""
    settings = load_settings()
    set_up_logs(settings.log_level, part="engine")
    return _run_alone(settings)


def _run_alone(settings: Settings) -> int:
    """Run while holding the lock of this engine's id."""
    engine_id = settings.this_engine_id
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", engine_id):
        raise StartupError("LOREKEEP_ENGINE_ID is 1-128 letters, digits, '.', '_' or '-': change it.")
    run = settings.run_folder
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(run / f"engine-{engine_id}.lock", blocking=False):
            adopt_orphans()
            note = run / f"engine-{engine_id}.json"
            clear_orphans(note, _STOP_S)
            return asyncio.run(_run(settings, engine_id, note))
    except Timeout as error:
        raise StartupError(f"Engine {engine_id} runs already: set LOREKEEP_ENGINE_ID to start another.") from error


async def _run(settings: Settings, engine_id: str, note: Path) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(engine_http(timeout=settings.engine_timeout.total_seconds()))
        life = asyncio.create_task(_live(settings, engine_id, note, http))
        signalled = asyncio.create_task(stopped.wait())
        await asyncio.wait([life, signalled], return_when=asyncio.FIRST_COMPLETED)
        signalled.cancel()
        if life.done():
            return life.result()
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
    return 0


async def _live(settings: Settings, engine_id: str, note: Path, http: httpx.AsyncClient) -> int:
    """Start vLLM, serve as its agent, and leave nothing behind however this ends."""
    began = time.time()
    device, version = pick_device(settings.device), installed_vllm()
    check_settings(settings)
    folder = await asyncio.to_thread(find_base, settings.model)
    digest = await asyncio.to_thread(base_digest, folder, settings.home)
    command = build_command(settings, folder, device, serving_template(folder))
    env = build_environment(settings, folder, device, os.environ)
    client = EngineClient(http, engine_key(settings))
    redis = connect(settings.registry_url)
    process: VllmProcess | None = None
    try:
        async with _turn(settings, device):
            process = await VllmProcess.start(command, env, note)
            shows_system = await asyncio.to_thread(_shows_system, folder)  # while vLLM starts
            await _until_healthy(settings, process, client)
            await client.complete(url_of(settings.engine_host, settings.engine_port), _WARM_UP)
        log.info("engine.started", engine=engine_id, start_s=round(time.time() - began, 1), vllm=version, device=device)
        record = _record(settings, engine_id, digest, device, began)
        record = replace(record, takes_system=shows_system)
        agent = Agent(record, EngineStore(redis), client, url=url_of(settings.engine_host, settings.engine_port))
        return await _serve(settings, process, agent)
    finally:
        if process is not None:
            await process.stop(_STOP_S)
        await redis.aclose()


def _record(settings: Settings, engine_id: str, digest: str, device: str, began: float) -> EngineRecord:
    return EngineRecord(
        id=engine_id,
        url=settings.this_engine_url,
        epoch=0,
        base_digest=digest,
        device=device,
        max_loras=settings.max_loras,
        capacity=settings.max_cpu_loras,
        max_lora_rank=settings.max_lora_rank,
        max_model_len=settings.max_model_len,
        vllm=installed_vllm(),
        started_at=began,
        heartbeat_at=began,
    )


async def _serve(settings: Settings, process: VllmProcess, agent: Agent) -> int:
    """Be the agent until vLLM dies."""
    duty = asyncio.create_task(agent.run(settings.heartbeat, settings.engine_ttl))
    death = asyncio.create_task(process.wait())
    try:
        await asyncio.wait([duty, death], return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            log.error("engine.died", status=death.result())
        elif isinstance(duty.exception(), Superseded):
            log.error("engine.superseded")
        else:
            duty.result()
        return 1
    finally:
        duty.cancel()
        death.cancel()
        await asyncio.wait([duty, death])
        await agent.withdraw()


async def _until_healthy(settings: Settings, process: VllmProcess, client: EngineClient) -> None:
    death = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(settings.engine_start_timeout.total_seconds()):
            while not await client.healthy(url_of(settings.engine_host, settings.engine_port)):
                if death.done():
                    raise StartupError(f"vLLM ended with status {death.result()} while starting: its log is above.")
                await asyncio.wait([death], timeout=_POLL_S)
    except TimeoutError as error:
        raise StartupError("vLLM did not start in time: raise LOREKEEP_ENGINE_START_TIMEOUT.") from error
    finally:
        death.cancel()


@asynccontextmanager
async def _turn(settings: Settings, device: str) -> AsyncIterator[None]:
    """Wait until no other engine of this machine is starting: on CPUs two would take minutes."""
    if device != "cpu":
        yield
        return
    async with AsyncFileLock(settings.run_folder / "engine-start.lock", poll_interval=_POLL_S):
        yield


def _shows_system(folder: Path) -> bool:
    from workers.chat import load_tokenizer, takes_system  # noqa: PLC0415 - imports transformers, in a thread

    return takes_system(load_tokenizer(str(folder)))


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
