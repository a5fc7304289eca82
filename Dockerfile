# One image for every part; the command says which: gateway, engine or trainer.
#
#   docker build --target cpu  --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU wheel index> -t lorekeep:cpu .
#   docker build --target cuda --build-arg PIP_EXTRA_INDEX_URL=<the same; the model's stage needs it> -t lorekeep:cuda .
#
# The default base model is baked in, so that a container needs no network; LOREKEEP_BASE_MODEL names another.

ARG PYTHON_VERSION=3.11

# What every target has: a compiler for the kernels that vLLM makes at run time, libnuma for CPU engines, no root.
FROM python:${PYTHON_VERSION}-slim-bookworm AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 lorekeep \
    && install -d -o lorekeep -g lorekeep /var/lib/lorekeep /var/lib/lorekeep/artifacts /var/lib/lorekeep/hub
ENV LOREKEEP_HOME=/var/lib/lorekeep \
    LOREKEEP_HOST=0.0.0.0 \
    LOREKEEP_ENGINE_HOST=0.0.0.0 \
    HF_HOME=/var/lib/lorekeep/hub \
    PATH=/usr/local/lorekeep/bin:$PATH \
    PYTHONUNBUFFERED=1

# The environment and the model are made in stages of their own: caches and pip's leftovers stay behind.
FROM base AS build-cpu
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /usr/local/src/lorekeep
RUN python -m venv /usr/local/lorekeep
COPY constraints-cpu.txt ./
RUN pip install --no-cache-dir --no-deps -r constraints-cpu.txt
RUN python -c "import torch" \
    || { echo "pip found no CPU build of torch: pass --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU wheel index>." >&2; exit 1; }
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY console ./console
COPY workers ./workers
RUN pip install --no-cache-dir --no-deps .

FROM base AS build-cuda
WORKDIR /usr/local/src/lorekeep
RUN python -m venv /usr/local/lorekeep
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY console ./console
COPY workers ./workers
RUN pip install --no-cache-dir ".[cuda]"

# The model is read with the CPU build whatever the target: making it needs no GPU.
FROM build-cpu AS model
RUN LOREKEEP_HOME=/tmp/model LOREKEEP_BASE_MODEL= python -m workers.prepare_model

FROM base AS runtime
COPY docker/healthcheck.py /usr/local/lib/lorekeep/healthcheck.py
ENV LOREKEEP_BASE_MODEL=/usr/local/share/lorekeep/SmolLM2-135M-Instruct
WORKDIR /var/lib/lorekeep
USER lorekeep
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --retries=3 \
    CMD ["python", "/usr/local/lib/lorekeep/healthcheck.py"]
ENTRYPOINT ["lorekeep"]
CMD ["gateway"]

FROM runtime AS cuda
COPY --from=build-cuda /usr/local/lorekeep /usr/local/lorekeep
COPY --from=model /tmp/model/models/SmolLM2-135M-Instruct /usr/local/share/lorekeep/SmolLM2-135M-Instruct

FROM runtime AS cpu
COPY --from=build-cpu /usr/local/lorekeep /usr/local/lorekeep
COPY --from=model /tmp/model/models/SmolLM2-135M-Instruct /usr/local/share/lorekeep/SmolLM2-135M-Instruct
