"""The parts behind the guard, put together."""

from dataclasses import dataclass

from filelock import FileLock

from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from workers.engine.adapters import AdapterSet, Patience
from workers.engine.checks import Limits
from workers.engine.compose import Composites
from workers.engine.composer import Composer
from workers.engine.probes import Prover, Reader
from workers.engine.vllm_engine import Engine


@dataclass(frozen=True)
class Parts:
    """What the guard works with."""

    adapters: AdapterSet
    composer: Composer
    claim: FileLock  # let go of with the process


def build(engine: Engine, settings: Settings, base_digest: str) -> Parts:
    """Put the parts of one engine together."""
    limits = Limits(settings.max_lora_rank, settings.max_model_len, base_digest)
    store = ArtifactStore.open(settings)
    reader = Reader(settings.model, settings.max_model_len)
    composites = Composites(
        settings.home.resolve() / "composites",
        store,
        limits,
        engine_id=settings.this_engine_id,
        most_bytes=settings.composites_bytes,
        probes=reader.of_member,
    )
    adapters = AdapterSet(
        engine,
        composites,
        limits,
        capacity=settings.max_cpu_loras,
        patience=Patience(drain=settings.engine_drain, canary=settings.engine_timeout),
    )
    return Parts(adapters, Composer(adapters, composites, store, Prover(engine), reader.of_text), composites.claim())
