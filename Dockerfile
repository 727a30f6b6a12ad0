# The production server: docker build -t zuplo-origin . && docker run --read-only --tmpfs /tmp -p 8000:8000 \
#   -e JWT_ISSUER=… -e JWT_AUDIENCE=… zuplo-origin

# Both stages use this image. To fix it, pass its digest:
#   digest=$(docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}')
#   docker build --build-arg PYTHON=python:3.13-slim@$digest -t zuplo-origin .
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
# binutils has strip: without symbols, the image is a tenth smaller
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN python -m venv --without-pip /venv
COPY requirements.txt /
RUN pip --python /venv/bin/python install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r /requirements.txt \
    && find /venv -name "*.so*" -type f -exec strip --strip-unneeded {} +
WORKDIR /origin
COPY . .
# import what a server imports: a broken image fails here, and the compiled modules make each start faster
RUN /venv/bin/python craft openapi:write - > /dev/null \
    && /venv/bin/python -c "import zuplo_origin.server.workers, zuplo_origin.observability.metrics, zuplo_origin.jwks.redis_store"

FROM ${PYTHON}
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /venv /venv
COPY --from=build /origin /origin
WORKDIR /origin
# a non-root user that cannot write to any file of the image
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# --start-interval requires Docker 25
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8000}/health/live\", timeout=2)"]
CMD ["python", "-m", "zuplo_origin.server"]
