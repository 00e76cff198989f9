"""An idempotent Kafka producer: a library in the house, whose one door is `Producer`. README.md has its states."""

from __future__ import annotations

from inlake.bus.kafka.producer.publish import Producer

__all__ = ["Producer"]
