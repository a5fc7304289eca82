"""What Prometheus reads. No label holds an id of a memory, a tenant or a request."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass
class Metrics:
    """One gateway's figures, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        own = self.registry
        self.requests = Counter("lorekeep_requests", "Requests answered.", ["route", "method", "status"], registry=own)
        self.latency = _seconds("lorekeep_request_seconds", "To the reply's end.", own, ["route"])
        self.first_token = _seconds("lorekeep_first_token_seconds", "To the first token of a stream.", own)
        self.cold_loads = Counter("lorekeep_cold_loads", "Adapters loaded on a request's way.", registry=own)
        self.load_s = _seconds("lorekeep_load_seconds", "How long such loads took.", own)
        self.queue_wait = _seconds("lorekeep_admission_wait_seconds", "Waiting for an adapter slot.", own)
        self.in_flight = Gauge("lorekeep_requests_in_flight", "Requests being answered.", registry=own)
        self.on_engines = Gauge("lorekeep_engine_requests_in_flight", "Of those, on engines.", registry=own)
        self.waiting = Gauge("lorekeep_requests_waiting", "In line for an adapter slot.", registry=own)
        self.open_jobs = Gauge("lorekeep_open_jobs", "Versions that are not over.", registry=own)
        self.engines = Gauge("lorekeep_engines", "Engines alive.", registry=own)

    def seated(self, *, cold: bool, load_ms: float, waited_s: float) -> None:
        """Count how a request came to its engine."""
        self.queue_wait.observe(waited_s)
        if cold:
            self.cold_loads.inc()
            self.load_s.observe(load_ms / 1000)

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


def _seconds(name: str, what: str, registry: CollectorRegistry, labels: Sequence[str] = ()) -> Histogram:
    return Histogram(name, what, labels, buckets=_SECONDS, registry=registry)
