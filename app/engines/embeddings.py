"""The client of an embeddings endpoint that speaks OpenAI's form."""

from collections.abc import Sequence

import httpx
from pydantic import SecretStr

from app.errors import EmbeddingsFailed

BATCH = 64
_TIMEOUT_S = 10.0


class EmbeddingsClient:
    """Makes vectors of texts. The caller owns `http`."""

    def __init__(self, http: httpx.AsyncClient, url: str, key: SecretStr | None, model: str) -> None:
        """Build a client.

        Args:
            url: of the API, with or without `/v1` or `/embeddings` at its end.
        """
        self._http, self.model = http, model
        base = url.rstrip("/").removesuffix("/embeddings").removesuffix("/v1")
        self.url = f"{base}/v1/embeddings"
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, in their order.

        Raises:
            EmbeddingsFailed: the endpoint cannot be reached, or answered with an error or anything else.
        """
        found: list[list[float]] = []
        for at in range(0, len(texts), BATCH):
            found += await self._batch(texts[at : at + BATCH])
        return found

    async def _batch(self, texts: Sequence[str]) -> list[list[float]]:
        body = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        try:
            reply = await self._http.post(self.url, json=body, headers=self._headers, timeout=_TIMEOUT_S)
            reply.raise_for_status()
            rows = sorted(reply.json()["data"], key=lambda row: row["index"])
            vectors = [[float(value) for value in row["embedding"]] for row in rows]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise EmbeddingsFailed(f"The embeddings endpoint failed: {type(error).__name__}.") from error
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
            raise EmbeddingsFailed("The embeddings endpoint gave other vectors than were asked for.")
        return vectors
