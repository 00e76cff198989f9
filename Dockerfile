# The gateway in a container: dependencies pinned by hash, no compiler, no root.
#
#   docker build -t inlake .
#   docker run --rm -p 127.0.0.1:8000:8000 -e INLAKE_ALLOW_ANONYMOUS=true -v inlake:/data inlake
#
# docs/how-to/deploy.md says what the variables mean, and how these steps were checked.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# the locks alone first: this layer is built again only when a dependency changes
COPY requirements-build.lock requirements-server.lock ./
RUN python -m venv --without-pip /opt/inlake \
 && pip --python /opt/inlake/bin/python install --require-hashes -r requirements-server.lock \
 && pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheel . \
 && pip --python /opt/inlake/bin/python install --no-deps --no-index wheel/*.whl

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Inlake" \
      org.opencontainers.image.description="A data gateway for cultural heritage: records and binaries in over HTTP, checked, stored in S3, published as Kafka events." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/inlake/inlake" \
      org.opencontainers.image.documentation="https://github.com/inlake/inlake/tree/main/docs"
# 10001: a number, so that Kubernetes can see that it is not root. /data holds the embedded default's .inlake/
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin inlake \
 && install -d -o inlake -g inlake -m 0750 /data
COPY --from=build /opt/inlake /opt/inlake
ENV PATH=/opt/inlake/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    INLAKE_HOST=0.0.0.0 \
    INLAKE_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# without a proxy, whatever the environment says: it asks this container
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['INLAKE_PORT'] + '/health/live', timeout=4)"]
ENTRYPOINT ["inlake"]
CMD ["serve"]
