"""Where things are, from the environment only: prefix `LOREKEEP_`, or a `.env` file beside the command.

Built once at a process's start and passed down. How to train is not here: see `app.core.recipe`.
"""

import difflib
import hashlib
import os
import re
import socket
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.names import BASE, check_tenant
from app.errors import StartupError

_PREFIX = "LOREKEEP_"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s?s?")


def _of_seconds(given: object) -> object:
    found = _SECONDS.fullmatch(given.strip()) if isinstance(given, str) else None
    return timedelta(seconds=float(found[1])) if found else given


def _upper(given: object) -> object:
    return given.upper() if isinstance(given, str) else given


Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Duration = Annotated[timedelta, BeforeValidator(_of_seconds)]  # 45, 45s, PT45S or 00:00:45


class Settings(BaseSettings):
    """Every setting of every process; each process reads what it needs."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",
    )

    home: Path = Path(".lorekeep")
    redis_url: str = ""  # empty: the embedded server's socket under home
    redis_password: SecretStr | None = None  # where redis_url carries none
    artifacts: str = ""  # an fsspec URL; empty: home/artifacts
    base_model: str = ""  # path or hub id; empty: the default model under home
    admin_key: SecretStr | None = None  # else home/admin.key
    engine_key: SecretStr | None = None  # what the gateway and the trainer show to engines; else home/engine.key
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = "INFO"

    # gateway
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    max_upload_bytes: int = Field(32 * 2**20, ge=1)
    max_import_bytes: int = Field(2 * 2**30, ge=1)  # of a tar that is imported
    admission_wait: Duration = timedelta(seconds=30)  # how long a request may wait for an adapter slot
    engine_timeout: Duration = timedelta(minutes=10)
    context_tokens: int = Field(640, ge=16)  # of the passages in one prompt, by the base model's tokenizer
    embeddings_url: str = ""  # OpenAI-compatible; empty: memories are chosen by their words alone
    embeddings_key: SecretStr | None = None
    embeddings_model: str = "text-embedding-3-small"
    erase_grace: Duration = timedelta(seconds=2)  # between unloading an adapter and erasing its files

    # engine
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Dtype = "auto"  # of the weights
    engine_id: str = ""  # stable across restarts; empty: <hostname>-<port>
    engine_host: str = "127.0.0.1"
    engine_port: int = Field(8100, ge=1, le=65535)
    engine_url: str = ""  # what others reach this engine by; empty: http://<engine_host>:<engine_port>
    max_loras: int = Field(4, ge=1)
    max_cpu_loras: int = Field(16, ge=1)
    max_lora_rank: Annotated[Literal[8, 16, 32, 64, 128, 256, 320, 512], BeforeValidator(int)] = 16
    max_model_len: int = Field(2048, ge=64)
    kv_cache_gib: int = Field(2, ge=1)  # CPU engines
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    cpu_threads_bind: str = ""  # VLLM_CPU_OMP_THREADS_BIND; empty: vLLM's own choice
    engine_args: str = ""  # further vLLM options, as on a command line
    heartbeat: Duration = timedelta(seconds=1)
    engine_ttl: Duration = timedelta(seconds=10)  # an engine silent for so long gets no requests
    engine_start_timeout: Duration = timedelta(minutes=20)  # from the start of vLLM to its first healthy answer
    engine_drain: Duration = timedelta(seconds=30)  # how long unloading an adapter waits for its requests to end
    engine_max_body_bytes: int = Field(16 * 2**20, ge=1024)
    composites_bytes: int = Field(4 * 2**30, ge=0)  # kept on an engine's disk; those in use stay in any case

    # trainer
    trainer_threads: int = Field(0, ge=0)  # 0: all cores
    job_lease: Duration = timedelta(seconds=30)  # renewed every lease/5
    job_attempts: int = Field(6, ge=1)  # how often a job is begun: five trainers may be killed at it
    generator_url: str = ""  # OpenAI-compatible; empty: an engine's own base model
    generator_key: SecretStr | None = None
    generator_model: str = BASE

    # command line
    url: str = ""  # of the gateway; empty: this machine's own
    api_key: SecretStr | None = None  # else the admin key

    # docker compose reads these; here they may stand in the same .env
    publish: str = ""
    gpus: str = ""

    tenant: str = "default"  # of the admin key

    def model_post_init(self, _context: object) -> None:
        """Check what a field's type cannot."""
        check_tenant(self.tenant)

    @property
    def registry_url(self) -> str:
        """The Redis URL to connect to; the embedded server's unix socket unless one is set."""
        if not self.redis_url:
            return f"unix://{self.registry_socket}"
        scheme, _, place = self.redis_url.partition("://")
        if self.redis_password and "@" not in place:
            place = f":{quote(self.redis_password.get_secret_value(), safe='')}@{place}"
        return f"{scheme}://{place}"

    @property
    def registry_socket(self) -> Path:
        """The embedded registry server's socket."""
        return self.run_folder / "registry.sock"

    @property
    def run_folder(self) -> Path:
        """Where sockets and locks are: under home, or in /tmp where that path is too long for a unix socket."""
        folder = self.home.resolve() / "run"
        if len(str(folder)) <= 80:
            return folder
        return Path("/tmp") / f"lorekeep-{os.getuid()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"

    @property
    def artifacts_url(self) -> str:
        """The fsspec URL under which documents and adapters are kept."""
        return self.artifacts or f"file://{self.home.resolve()}/artifacts"  # not quoted: fsspec takes it as it stands

    @property
    def default_model(self) -> Path:
        """Where the default base model is prepared."""
        return self.home.resolve() / "models" / "SmolLM2-135M-Instruct"

    @property
    def model(self) -> str:
        """The base model's path or hub id."""
        return self.base_model or str(self.default_model)

    @property
    def this_engine_id(self) -> str:
        """What the registry calls this process's engine."""
        return self.engine_id or f"{socket.gethostname()}-{self.engine_port}"

    @property
    def this_engine_url(self) -> str:
        """What the gateway and the trainer reach this process's engine by."""
        return self.engine_url or url_of(self.engine_host, self.engine_port)


def url_of(host: str, port: int) -> str:
    """Return the URL by which this machine reaches what listens on a host; on all of them, by its own."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        StartupError: a variable is misspelt or out of range, or `.env` cannot be read; the text names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = _PREFIX + "_".join(str(part) for part in first["loc"]).upper().removeprefix(_PREFIX)
        raise StartupError(f"{name}: {first['msg']}.") from error
    except UnicodeDecodeError as error:
        raise StartupError(".env is not UTF-8: save it as UTF-8.") from error
    except OSError as error:
        raise StartupError(f".env cannot be read ({error.strerror}): check whose it is.") from error


def misspelt(variables: Iterable[str]) -> list[str]:
    """Return a sentence for each variable of the environment that is named as a setting and is none.

    pydantic refuses such a name in `.env` and passes over it in the environment. Those of the tests are known.
    """
    known = [name.upper() for name in Settings.model_fields]
    sentences = []
    for variable in sorted(variables):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in known or name.startswith("TEST_"):
            continue
        meant = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {_PREFIX}{meant[0]}?" if meant else "docs/operations.md has those there are."
        sentences.append(f"{variable} is no setting and changes nothing: {hint}")
    return sentences
