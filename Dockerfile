# Targets: api (also dispatcher, bootstrap, migrate; no torch), worker-cpu, worker-gpu.
# Bases are arguments, so that a site pins them by digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY service ./service
COPY models ./models
COPY workers ./workers
COPY migrations ./migrations

FROM source AS build-api
RUN python -m venv /opt/enteron \
 && /opt/enteron/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM source AS build-worker
# docs/decisions/0002: the index of torch's CPU build, or of the CUDA that the nodes' driver fits; it alone
# makes the two worker images differ. Without it the default (CUDA) build comes.
ARG TORCH_INDEX_URL=
RUN python -m venv /opt/enteron \
 && /opt/enteron/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
    ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} '.[worker]'

FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 enteron \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/enteron enteron \
 && install -d -o enteron -g enteron -m 0700 /var/lib/enteron /objects
ENV PATH=/opt/enteron/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ENTERON_HOME=/var/lib/enteron
WORKDIR /var/lib/enteron
USER 10001:10001
ENTRYPOINT ["enteron"]

FROM runtime AS worker-cpu
COPY --from=build-worker /opt/enteron /opt/enteron
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "-m", "workers.probe"]
CMD ["worker"]

FROM runtime AS worker-gpu
COPY --from=build-worker /opt/enteron /opt/enteron
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s CMD ["python", "-m", "workers.probe"]
CMD ["worker"]

FROM runtime AS api
COPY --from=build-api /opt/enteron /opt/enteron
ENV ENTERON_API_HOST=0.0.0.0
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/healthz/live', timeout=2)"]
CMD ["api"]
