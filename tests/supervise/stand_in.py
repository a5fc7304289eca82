"""A part that starts in no time: `python -m tests.supervise.stand_in NAME`. Also runs `up` over such parts.

engine    reports to the registry and has a child of its own
trainer   sleeps; dies at once where LOREKEEP_TEST_BROKEN says so
gateway   answers 200 to everything
up        `lorekeep up` over the real registry server and the three above
"""

import asyncio
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from redis import Redis
from rich.console import Console
from rq import Queue, Worker

from app.core.engines import EngineRecord
from app.errors import StartupError
from app.settings import Settings, load_settings
from app.stores.engines import EngineStore
from app.stores.redis import connect
from app.supervise.parts import Part, parts_of
from app.supervise.run import up


def engine(settings: Settings) -> None:
    """Report every half second, beside a child that nobody but supervisord ends."""
    subprocess.Popen(["sleep", "3600"])
    asyncio.run(_report(settings))


async def _report(settings: Settings) -> None:
    now = time.time()
    record = EngineRecord(
        id="stand-in",
        url=settings.this_engine_url,
        epoch=1,
        base_digest="0" * 64,
        device="cpu",
        max_loras=1,
        capacity=1,
        max_lora_rank=8,
        max_model_len=64,
        vllm="0",
        started_at=now,
        heartbeat_at=now,
    )
    redis = connect(settings.registry_url)
    while True:
        await EngineStore(redis).report(record, 2)
        await asyncio.sleep(0.5)


def trainer(settings: Settings) -> None:
    """Be registered as a worker, or break."""
    if os.environ.get("LOREKEEP_TEST_BROKEN"):
        sys.exit("the trainer cannot find its model")
    connection = Redis.from_url(settings.registry_url)
    Worker([Queue("stand-in", connection=connection)], connection=connection).register_birth()  # type: ignore[no-untyped-call]
    threading.Event().wait()


def gateway(settings: Settings) -> None:
    """Answer 200."""

    class Always(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server((settings.host, settings.port), Always).serve_forever()


def main() -> int:
    """Be the part named on the command line."""
    name, settings = sys.argv[1], load_settings()
    if name != "up":
        {"engine": engine, "trainer": trainer, "gateway": gateway}[name](settings)
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    registry, *others = parts_of(settings)
    stand_ins = [Part(part.name, (sys.executable, "-m", "tests.supervise.stand_in", part.name)) for part in others]
    try:
        up(settings, Console(highlight=False), [registry, *stand_ins])
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
