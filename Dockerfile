# syntax=docker/dockerfile:1
# The image of the sidecar, and with --target demo that of the demo service. Their hot path is compiled; the compiler stays
# behind. All packages are locked by hash. The base image is not: pin it by digest where you build.
#
#   docker build --tag pool-exporter .
#   docker run --read-only --volume pools:/run/pool_exporter --publish 10042:10042 pool-exporter
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
ARG COMPILER="gcc libc6-dev"
# hadolint ignore=DL3008,SC2086
RUN apt-get update && apt-get install --yes --no-install-recommends ${COMPILER} && rm -rf /var/lib/apt/lists/*
COPY deploy/requirements-build.txt deploy/requirements.txt deploy/requirements-demo.txt ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --requirement requirements-build.txt
COPY hatch_build.py hatch_readme.py pyproject.toml README.md LICENSE ./
COPY pool_exporter ./pool_exporter
COPY docs/runbooks ./docs/runbooks
COPY grafana/dashboards ./grafana/dashboards
COPY deploy/prometheus ./deploy/prometheus
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-binary=:none: --wheel-dir /wheels . \
    && ls /wheels/*-cp3*.whl

# The bytecode is made here, because the file system is read-only at run time: the program starts in half of the time.
FROM build AS build-sidecar
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --no-deps --requirement requirements.txt \
    && /opt/venv/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/venv/bin/pip uninstall --yes pip \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM build AS build-demo
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --no-deps --requirement requirements-demo.txt \
    && /opt/venv/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/venv/bin/pip uninstall --yes pip \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM ${PYTHON_IMAGE} AS runtime
# The group may write, too: the service's user and this one share the directory by their common group.
RUN groupadd --gid 65532 nonroot \
    && useradd --uid 65532 --gid 65532 --no-create-home --shell /usr/sbin/nologin nonroot \
    && install --directory --mode 2770 --owner 65532 --group 65532 /run/pool_exporter
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["pool-exporter"]

FROM runtime AS demo
LABEL org.opencontainers.image.title="pool-exporter demo" \
      org.opencontainers.image.description="A FastAPI service whose connection pool goes through scenes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-demo /opt/venv /opt/venv
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["pool-exporter", "healthcheck", ":8000"]
CMD ["demo", "--host", "0.0.0.0", "--port", "8000"]

FROM runtime AS sidecar
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="pool-exporter" \
      org.opencontainers.image.description="Metrics of SQLAlchemy connection pools, also of frozen and dead processes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build-sidecar /opt/venv /opt/venv
ENV POOL_EXPORTER_DIR=/run/pool_exporter
EXPOSE 10042
HEALTHCHECK --interval=15s --timeout=5s --start-period=5s --retries=3 CMD ["pool-exporter", "healthcheck"]
CMD ["serve"]
