"""Numbers for Prometheus, under the names that TensorFlow Serving gives them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where TensorFlow Serving's metrics are by default."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The type of that page."""

_PREFIX = ":tensorflow:serving:"
# Microseconds, from a tenth of a millisecond to over a minute.
_MICROSECONDS = [100.0 * 2**step for step in range(21)]
_ROWS = [float(2**step) for step in range(13)]


class Metrics:
    """What has been asked and answered since the start.

    Args:
        model: the name of the model. Names that clients make up are no labels: they would fill the
            memory.
    """

    def __init__(self, model: str) -> None:
        self._model, self._registry = model, CollectorRegistry()
        # A gauge, because a counter's name would get an ending that TensorFlow Serving's lacks.
        self._requests = Gauge(
            f"{_PREFIX}request_count",
            "Requests answered, by the outcome.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._in_flight = Gauge(
            f"{_PREFIX}in_flight", "Requests being answered now.", registry=self._registry
        )
        self._latency = Histogram(
            f"{_PREFIX}request_latency",
            "From a request's first byte to its answer, in microseconds.",
            ["model_name", "API", "entrypoint"],
            buckets=_MICROSECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            f"{_PREFIX}batching:processed_batch_size",
            "Rows of each batch computed.",
            ["model_name"],
            buckets=_ROWS,
            registry=self._registry,
        )

    def answered(self, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
            api: such as `Predict`.
            entrypoint: `GRPC` or `REST`.
            status: the name of its code, such as `OK`.
            seconds: that it took.
        """
        self._requests.labels(self._model, status).inc()
        self._latency.labels(self._model, api, entrypoint).observe(seconds * 1e6)

    def computed(self, rows: int) -> None:
        """Counts a batch of so many rows."""
        self._rows.labels(self._model).observe(rows)

    def page(self, in_flight: int) -> bytes:
        """The text that Prometheus reads."""
        self._in_flight.set(in_flight)
        return generate_latest(self._registry)
