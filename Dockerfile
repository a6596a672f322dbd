# The exporter alone: `make up` builds it. Needs no BuildKit.
# The Python that the tests run on; its patch releases come with a rebuild (`docker compose build --pull`).
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/quant
WORKDIR /src
COPY requirements.lock ./
RUN /opt/quant/bin/pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY alerting ./alerting
COPY docs/runbook.md ./docs/runbook.md
COPY grafana/dashboards ./grafana/dashboards
COPY grafana/provisioning ./grafana/provisioning
COPY prometheus ./prometheus
COPY sample ./sample
COPY exporter ./exporter
# What builds and what only `make stack` needs stays behind, and so do the libraries' own tests.
RUN /opt/quant/bin/pip install --no-deps --no-build-isolation . \
 && /opt/quant/bin/pip uninstall --yes hatchling pathspec pluggy tomlkit trove-classifiers honcho setuptools pip \
 && find /opt/quant -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="quant-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
# Volumes take over the owner of the folders that they cover, so the folders are made here.
RUN groupadd --gid 10077 quant \
 && useradd --uid 10077 --gid quant --home-dir /app --no-create-home --shell /usr/sbin/nologin quant \
 && install -d -o quant -g quant -m 0750 /app /app/var /app/var/log \
 && install -d -o quant -g quant -m 0755 /made /made/prometheus /made/alertmanager
COPY --from=build /opt/quant /opt/quant
COPY deploy/containers/settings.py deploy/containers/healthy.py deploy/containers/keep_state.py deploy/vps/state_copy.py /opt/quant/
COPY --from=build /src/sample /app
ENV PATH=/opt/quant/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    QUANT_LISTEN=0.0.0.0:10077
WORKDIR /app
USER 10077:10077
EXPOSE 10077
# Ready, not only healthy: others start after it.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=12 \
  CMD ["python3", "/opt/quant/healthy.py"]
ENTRYPOINT ["quant-exporter"]
CMD ["run"]
