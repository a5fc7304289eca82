"""An export taken apart, changed and put together again."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import torch
from safetensors.torch import load, save

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"


@dataclass(frozen=True)
class Export:
    """The files of one export, by their path in it."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, http: httpx.Client, memory_id: str) -> "Export":
        """Export a memory."""
        reply = http.get(f"/v1/memories/{memory_id}/export").raise_for_status()
        with tarfile.open(fileobj=io.BytesIO(reply.content)) as tar:
            opened = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar.getmembers()}
        return cls({name: file.read() for name, file in opened.items() if file})

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest says."""
        fields: dict[str, Any] = json.loads(self.files[MANIFEST])
        return fields

    def with_manifest(self, **fields: Any) -> "Export":
        """Return the export with other fields in its manifest."""
        return Export(self.files | {MANIFEST: json.dumps(self.manifest | fields).encode()})

    def reweighted(self, change: Callable[[str, torch.Tensor], torch.Tensor]) -> "Export":
        """Return the export with every tensor changed, and the manifest true to it."""
        weights = save({name: change(name, tensor).contiguous() for name, tensor in load(self.files[WEIGHTS]).items()})
        changed = Export(self.files | {WEIGHTS: weights})
        return changed.with_manifest(digest=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights))

    def with_adapter_of(self, other: "Export") -> "Export":
        """Return this export's documents and questions with another's weights, and the canary that belongs to them."""
        theirs = {name: other.manifest[name] for name in ("digest", "size_bytes", "canary", "base")}
        return Export(self.files | {name: other.files[name] for name in (WEIGHTS, CONFIG)}).with_manifest(**theirs)

    def send(self, http: httpx.Client, name: str) -> str:
        """Import it as a new memory; return its id."""
        sent = io.BytesIO()
        with tarfile.open(fileobj=sent, mode="w") as tar:
            for path, content in self.files.items():
                member = tarfile.TarInfo(f"export/{path}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        files = {"file": (f"{name}.tar", sent.getvalue())}
        reply = http.post("/v1/memories/import", files=files, data={"name": name})
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])
