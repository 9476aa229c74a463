# syntax=docker/dockerfile:1
# Clarion in one image: `serve` (the default), `worker`, `scheduler`, `migrate`, and every other command of `clarion`.
# Everything installed stands in requirements/run.txt with its hash. The root file system may be read-only (give it /tmp).

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /opt/clarion
WORKDIR /build
# First what changes rarely: the layer stays until the lock changes.
COPY requirements/run.txt requirements/run.txt
RUN /opt/clarion/bin/pip install --require-hashes --only-binary :all: --requirement requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/clarion/bin/pip install --no-deps --no-build-isolation . \
    && /opt/clarion/bin/pip uninstall --yes pip \
    && /opt/clarion/bin/python -m compileall -q /opt/clarion/lib

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Clarion" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin clarion \
    && install -d -o clarion -g clarion /srv/clarion
COPY --from=build /opt/clarion /opt/clarion
ENV PATH=/opt/clarion/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    CLARION_HOST=0.0.0.0 CLARION_PORT=8000 CLARION_LOG__FORMAT=json
WORKDIR /srv/clarion
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["clarion"]
CMD ["serve"]
