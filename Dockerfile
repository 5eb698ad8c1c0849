# syntax=docker/dockerfile:1
# What is in the image, how to build and to verify it: docs/image.md.

# The index of all platforms, so that each of them is pinned by it.
ARG PYTHON_IMAGE=docker.io/library/python:3.13.14-slim-bookworm@sha256:9d7f287598e1a5a978c015ee176d8216435aaf335ed69ac3c38dd1bbb10e8d64

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
    pip --python /opt/cyberun-exporter/bin/python install --require-hashes --no-deps -r requirements/runtime.txt && \
    pip --python /opt/hatch/bin/python install --require-hashes --no-deps -r requirements/build.txt && \
    pip --python /opt/hatch/bin/python check
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN /opt/hatch/bin/python -m hatchling build -t wheel && \
    pip --python /opt/cyberun-exporter/bin/python install --no-index --no-deps --no-cache-dir dist/*.whl && \
    pip --python /opt/cyberun-exporter/bin/python check

FROM ${PYTHON_IMAGE}
ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="cyberun-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Cyberun Cloud" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cyberun-cloud/cyberun-exporter" \
      org.opencontainers.image.documentation="https://github.com/cyberun-cloud/cyberun-exporter/tree/main/docs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /opt/cyberun-exporter /opt/cyberun-exporter
ENV PATH=/opt/cyberun-exporter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CYBERUN_EXPORTER_REVISION=${REVISION}
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 10042
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 CMD ["cyberun-exporter", "health"]
ENTRYPOINT ["cyberun-exporter"]
