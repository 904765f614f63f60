"""What a server counts of itself, as Prometheus reads it."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = ("/", "/health", "/metrics", "/openapi.json", "/v1/model", "/v1/predict", "/v1/clip")
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mmsa_requests", "Requests that were answered.", ["path", "status"], registry=self.registry
        )
        self.utterances = Counter("mmsa_utterances", "Utterances that were predicted.", registry=self.registry)
        self.seconds = Histogram(
            "mmsa_predict_seconds", "From a request to its answer.", registry=self.registry, buckets=SECONDS
        )
        self.queue = Gauge("mmsa_queue_utterances", "Utterances that wait for the model.", registry=self.registry)
        self.batches = Histogram(
            "mmsa_batch_utterances", "Utterances that were predicted at once.", registry=self.registry, buckets=SIZES
        )


class Counted:
    """Counts the requests of an ASGI application, and takes the time of those to ``/v1/predict``.

    Args:
        app: the application.
        metrics: where it counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            if path == "/v1/predict":
                self.metrics.seconds.observe(time.perf_counter() - begun)
