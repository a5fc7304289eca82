"""The gateway's figures. No tenant, memory or question is a label."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("lorekeep_requests", "Requests by route and status.", ["route", "status"])
SECONDS = Histogram("lorekeep_request_seconds", "Seconds until a reply began.", ["route"])
COLD_LOADS = Histogram("lorekeep_cold_load_seconds", "Seconds that loading an adapter on the way took.")
ENGINES = Gauge("lorekeep_engines", "Live engines.")
IN_FLIGHT = Gauge("lorekeep_requests_in_flight", "Requests of this gateway that engines work on.")
OPEN_JOBS = Gauge("lorekeep_open_jobs", "Versions that are queued or being trained.")
