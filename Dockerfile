# syntax=docker/dockerfile:1.7
# Two images from one lock file. api: API, scheduler and migrations, without torch. worker: CUDA, vLLM and trainer.
#   docker build --target api -t star-api .
#   docker build --target worker -t star-worker .

ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# CUDA 13.0 is what the published wheels of vllm 0.32 and torch 2.13 are built for. The base image is enough: torch's
# wheels bring the CUDA libraries, the host's driver comes in through the NVIDIA container toolkit.
ARG CUDA_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04

FROM ${PYTHON_IMAGE} AS python-with-uv
RUN pip install --no-cache-dir uv==0.13.8
ENV UV_PROJECT_ENVIRONMENT=/opt/star UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1


FROM python-with-uv AS api-build
ENV UV_PYTHON_DOWNLOADS=never
WORKDIR /build
# Dependencies first: this layer is rebuilt only when they change.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-project --extra otel
COPY . .
# The documentation, which the API serves at /docs/guide/.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv run --frozen --isolated --only-group docs mkdocs build --quiet
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --extra otel


FROM ${PYTHON_IMAGE} AS api
RUN groupadd --gid 10001 star \
    && useradd --uid 10001 --gid star --home-dir /var/lib/star --shell /usr/sbin/nologin star \
    && install --directory --owner star --group star /var/lib/star /var/lib/star/artifacts /var/lib/star/uploads
COPY --from=api-build /opt/star /opt/star
# Alembic finds its settings and revisions in the current folder.
WORKDIR /srv/star
COPY pyproject.toml ./
COPY migrations migrations
ENV PATH=/opt/star/bin:$PATH PYTHONUNBUFFERED=1 STAR_HOME=/var/lib/star
USER star
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["python", "-m", "app.server", "--host", "0.0.0.0", "--port", "8000"]


FROM ${CUDA_IMAGE} AS worker
# Triton compiles its launchers when it first runs a kernel, hence a C compiler in the image.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 star \
    && useradd --uid 10001 --gid star --home-dir /var/lib/star --shell /usr/sbin/nologin star \
    && install --directory --owner star --group star /var/lib/star /var/lib/star/artifacts
COPY --from=python-with-uv /usr/local/bin/uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/star UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_INSTALL_DIR=/opt/python
WORKDIR /build
COPY pyproject.toml uv.lock ./
# torch stands beside the lock (Makefile): the registry's own build of it is the one for CUDA, and brings Triton.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-install-project --python 3.11 --extra worker --extra vllm --extra qlora \
    && uv pip install --no-config --python /opt/star/bin/python torch==2.13.0
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --inexact --no-dev --no-editable --extra worker --extra vllm --extra qlora
WORKDIR /srv/star
# Caches of compiled kernels lie in the home folder, a volume in docker-compose.yml: a restart does not compile again.
ENV PATH=/opt/star/bin:$PATH PYTHONUNBUFFERED=1 STAR_HOME=/var/lib/star \
    XDG_CACHE_HOME=/var/lib/star/cache TRITON_CACHE_DIR=/var/lib/star/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/star/cache/inductor \
    HF_HOME=/var/lib/star/cache/huggingface HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
USER star
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["python", "-m", "worker.health"]
CMD ["celery", "--app=worker.celery", "worker", "--pool=prefork", "--concurrency=1", \
    "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]
