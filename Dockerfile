# What is in the image, how to build and to verify it: docs/image.md.

# The index of all platforms, so that each of them is pinned by it.
ARG PYTHON_IMAGE=docker.io/library/python:3.13.16-slim-trixie@sha256:bf44cdfcb76cd3b41e879bc058fc37ec5872002ccfde7fcb765e218cde0cd79c

# Nothing runs in this stage.
# hadolint ignore=DL3057
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/cyberun-exporter && python -m venv --without-pip /opt/hatch
# Dependencies before the source: they change less often.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/cyberun-exporter/bin/python install --no-compile --require-hashes --no-deps -r requirements/runtime.txt && \
    pip --python /opt/hatch/bin/python install --require-hashes --no-deps -r requirements/build.txt && \
    pip --python /opt/hatch/bin/python check
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
# Bytecode that is checked by hash names no time, so that two builds give the same files.
RUN /opt/hatch/bin/python -m hatchling build -t wheel && \
    pip --python /opt/cyberun-exporter/bin/python install --no-index --no-deps --no-cache-dir --no-compile dist/*.whl && \
    pip --python /opt/cyberun-exporter/bin/python check && \
    python -m compileall -q --invalidation-mode unchecked-hash /opt/cyberun-exporter/lib

FROM ${PYTHON_IMAGE}
ARG REVISION="unknown"
LABEL org.opencontainers.image.title="cyberun-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Cyberun Cloud" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cyberun-cloud/cyberun-exporter" \
      org.opencontainers.image.documentation="https://github.com/cyberun-cloud/cyberun-exporter/tree/main/docs"
# The base carries no compiled standard library, and nothing can write it later: every start and health check would compile it.
RUN python -m compileall -q -x site-packages --invalidation-mode unchecked-hash \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/cyberun-exporter /opt/cyberun-exporter
ENV PATH=/opt/cyberun-exporter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CYBERUN_EXPORTER_REVISION=${REVISION}
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 10042
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["cyberun-exporter", "health"]
ENTRYPOINT ["cyberun-exporter"]
