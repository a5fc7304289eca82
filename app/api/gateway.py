"""The parts of one gateway, built once at its start and handed to the endpoints."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import structlog
from redis.exceptions import RedisError

from app.api.metrics import Metrics
from app.api.tasks import Look, end
from app.engines.client import EngineClient, engine_http
from app.engines.embeddings import EmbeddingsClient
from app.engines.fleet import Fleet
from app.secret_files import admin_key, engine_key
from app.services.answer import Answerer
from app.services.choose import Chooser
from app.services.context import Library
from app.services.erase import Eraser, Places
from app.services.languages import Guards
from app.services.meaning import Meaning
from app.services.plan import Planner
from app.services.remember import Rememberer
from app.services.select import Selector
from app.services.send import Sender
from app.services.target import Resolver
from app.services.transfer import Exporter, Importer
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from app.stores.copies import keep_swept
from app.stores.engines import EngineStore
from app.stores.erasures import ErasureStore
from app.stores.events import EventStore
from app.stores.keys import KeyStore
from app.stores.memories import MemoryStore
from app.stores.queue import TrainingQueue
from app.stores.redis import Registry, connect
from app.stores.serving import ServingStore
from app.stores.versions import VersionStore

log = structlog.get_logger()

REGISTRY_RETRIES = 5  # about 3 s: a request does not wait longer for a registry that is away
STREAM_CONNECTIONS = 64  # that streams of events wait on, in turn where there are more of them
FIRST_LOOK_S = 5.0
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=4)


@dataclass(frozen=True)
class Gateway:
    """What endpoints work with."""

    settings: Settings
    memories: MemoryStore
    versions: VersionStore
    events: EventStore
    erasures: ErasureStore
    engines: EngineStore
    keys: KeyStore
    artifacts: ArtifactStore
    store: Look
    fleet: Fleet
    answerer: Answerer
    planner: Planner
    rememberer: Rememberer
    guards: Guards
    eraser: Eraser
    exporter: Exporter
    importer: Importer
    metrics: Metrics


def build(
    settings: Settings,
    redis: Registry,
    listener: Registry,
    http: httpx.AsyncClient,
    artifacts: ArtifactStore,
    *,
    meaning: Meaning | None,
) -> Gateway:
    """Put a gateway together."""
    memories, versions, engines = MemoryStore(redis), VersionStore(redis), EngineStore(redis)
    events, erasures = EventStore(redis, listener), ErasureStore(redis)
    client = EngineClient(http, engine_key(settings))
    fleet = Fleet(engines, client, wait_s=settings.admission_wait.total_seconds())
    places = Places(memories, versions, events, erasures, engines, artifacts, client)
    planner = Planner(settings, BaseStore(redis), fleet, client)
    rememberer = Rememberer(memories, versions, artifacts, TrainingQueue(settings.registry_url), planner)
    sender = Sender(fleet, client)
    library = Library(artifacts, sender, settings.context_tokens)
    selector = Selector(ServingStore(redis), artifacts, meaning)
    guards = Guards(memories, versions, artifacts, rememberer, planner, fleet=fleet)
    chooser = Chooser(Resolver(memories, versions, guards), selector, versions, library, sender)
    return Gateway(
        settings=settings,
        memories=memories,
        versions=versions,
        events=events,
        erasures=erasures,
        engines=engines,
        keys=KeyStore(redis),
        artifacts=artifacts,
        store=Look(artifacts.writable),
        fleet=fleet,
        answerer=Answerer(chooser, sender),
        planner=planner,
        rememberer=rememberer,
        guards=guards,
        eraser=Eraser(places, grace_s=settings.erase_grace.total_seconds()),
        exporter=Exporter(versions, artifacts),
        importer=Importer(settings, memories, artifacts, rememberer, fleet),
        metrics=Metrics(),
    )


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    redis: Registry | None = None,
    http: httpx.AsyncClient | None = None,
    artifacts: ArtifactStore | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway: its watch on the engines, its erasures, its admin key. What is given is not closed here."""
    own_redis = redis if redis is not None else connect(settings.registry_url, retries=REGISTRY_RETRIES)
    listener = connect(settings.registry_url, retries=REGISTRY_RETRIES, connections=STREAM_CONNECTIONS, wait_s=None)
    own_http = http or _http(settings)
    store = artifacts or ArtifactStore.open(settings)
    async with _meaning(settings, store) as meaning:
        gateway = build(settings, own_redis, listener, own_http, store, meaning=meaning)
        tasks = [_start(gateway.fleet.watch()), _start(gateway.eraser.run()), seeding := _start(_seed(gateway))]
        tasks.append(_start(keep_swept(lambda: asyncio.to_thread(store.drop_orphans), "copies.not_swept")))
        tasks.append(_start(keep_swept(gateway.rememberer.drop_left_behind, "memory.left_behind_kept")))
        await asyncio.wait({seeding}, timeout=FIRST_LOOK_S)
        try:
            yield gateway
        finally:
            await end(tasks)
            if http is None:
                await own_http.aclose()
            await listener.aclose()
            if redis is None:
                await own_redis.aclose()


@asynccontextmanager
async def _meaning(settings: Settings, artifacts: ArtifactStore) -> AsyncIterator[Meaning | None]:
    """Open what embeds, where there is an endpoint: asked by the environment's proxy, unlike engines."""
    if not settings.embeddings_url:
        yield None
        return
    async with httpx.AsyncClient(limits=LIMITS) as outside:
        key, model = settings.embeddings_key, settings.embeddings_model
        yield Meaning(EmbeddingsClient(outside, settings.embeddings_url, key, model), artifacts)


def _http(settings: Settings) -> httpx.AsyncClient:
    timeout = httpx.Timeout(settings.engine_timeout.total_seconds(), connect=3, pool=None)
    return engine_http(timeout=timeout, limits=LIMITS)


async def _seed(gateway: Gateway) -> None:
    """Make the admin key known, however late the registry comes up."""
    secret = admin_key(gateway.settings).get_secret_value()
    while True:
        try:
            await gateway.keys.seed(secret, gateway.settings.tenant)
            await gateway.fleet.refresh()
        except (RedisError, OSError) as error:
            log.warning("registry.awaited", error=type(error).__name__)
            await asyncio.sleep(1)
        else:
            return


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)
