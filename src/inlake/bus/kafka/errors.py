"""Errors of Kafka, from librdkafka's codes to one sentence of ours."""

# ruff: noqa: SLF001 - librdkafka names its local errors with an underscore
from __future__ import annotations

import re
from enum import Enum

from confluent_kafka import KafkaError

from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, RecordTooLarge, TopicMissing

NO_SUCH_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION}
NO_LEADER = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
}
"""Errors of a partition that is led by another broker, or by nobody yet."""
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}
FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
REFUSED = {
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_RECORD,
    KafkaError._INVALID_DIFFERENT_RECORD,
    KafkaError.TOPIC_EXCEPTION,
}
UNREACHABLE = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
RETRIABLE = {KafkaError.INVALID_MSG, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.NOT_ENOUGH_REPLICAS}
"""Only what a broker says before it writes. NOT_LEADER_FOR_PARTITION is not here: a leader that is replaced while it
waits for its followers says it too, and the next leader may have the batch (Kafka's DelayedProduce, case B)."""
SEQUENCE_LOST = {
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.UNKNOWN_PRODUCER_ID,
}
UNSUPPORTED = {
    KafkaError.INVALID_REQUIRED_ACKS,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
}
_STATE = re.compile(r" \(after \d+ms in state \w+(?:[^()]|\(s\))*\)")


class Verdict(Enum):
    """The meaning of a broker's answer for the batch."""

    WRITTEN = "on all in-sync replicas"
    DUPLICATE = "it was in the log before; the broker has forgotten where"
    TOO_LARGE = "smaller ones may do"
    REFUSED = "it is not in the log, and will not be"
    RETRIABLE = "it is not in the log, and may be the next time"
    UNKNOWN = "it may be in the log: to be sent again as it is"
    NEW_EPOCH = "the sequence number is not the next: not in the log, to be sent under another epoch of the producer id"


def verdict(code: int) -> Verdict:
    """Finds the verdict of an answer's error code; an unknown code is `UNKNOWN`."""
    if code == KafkaError.NO_ERROR:
        return Verdict.WRITTEN
    if code == KafkaError.DUPLICATE_SEQUENCE_NUMBER:
        return Verdict.DUPLICATE
    if code in TOO_LARGE:
        return Verdict.TOO_LARGE
    if code in SEQUENCE_LOST:
        return Verdict.NEW_EPOCH
    if code in RETRIABLE:
        return Verdict.RETRIABLE
    return Verdict.REFUSED if code in FORBIDDEN | REFUSED | UNSUPPORTED else Verdict.UNKNOWN


def of_code(code: int, topic: str) -> InlakeError:
    """Our error for an event that is certainly not in the log, after a broker's answer about its topic."""
    if code in NO_SUCH_TOPIC | TOO_LARGE | FORBIDDEN:
        return of_kafka_error(KafkaError(code), topic, sent=False)
    return BusUnavailable(f"Kafka did not take the event for topic {topic!r}: {KafkaError(code).str()}")


def not_sent(reason: str, seconds: float, held: float = 0.0) -> BusUnavailable:
    """No broker could be reached in time. `reason`: what was last wrong with the connection; `held`: seconds for which
    the broker wants to be left alone."""
    if held:
        return BusUnavailable(
            f"Kafka holds the gateway back for {held:.3g} s more: it is over a quota of its user or client id "
            "(producer_byte_rate or request_percentage)."
        )
    return BusUnavailable(f"Kafka cannot be used: {reason or f'no broker was ready within {seconds:g} s'}")


def outcome_unknown(topic: str, seconds: float, code: int, reason: str = "") -> OutcomeUnknown:
    """A batch was sent, and its time is over. `code`: what a broker last said against it, 0 for nothing."""
    because = _because(KafkaError(code).str() if code else reason)
    return OutcomeUnknown(f"Kafka did not confirm the event for topic {topic!r} within {seconds:g} s{because}.")


def of_kafka_error(error: KafkaError, topic: str, *, sent: bool, right: str = "WRITE", reason: str = "") -> InlakeError:
    """Our error for Kafka's. `sent`: a broker may have got the event; `right`: what it takes to do what was refused;
    `reason`: what was last wrong with the connection."""
    code, text = error.code(), error.str()
    if code in NO_SUCH_TOPIC:
        return TopicMissing(f"Kafka has no topic {topic!r} any more: the next event for it looks for it again.")
    if code in TOO_LARGE:
        return RecordTooLarge(f"The record is larger than Kafka takes in topic {topic!r} (max.message.bytes).")
    if code in FORBIDDEN:
        older = " (before Kafka 2.8: IDEMPOTENT_WRITE on the cluster)"
        of_cluster = older if code == KafkaError.CLUSTER_AUTHORIZATION_FAILED else ""
        return BusUnavailable(
            f"The gateway's Kafka user lacks the right {right} for topic {topic!r}{of_cluster} ({text}): give it by an "
            "ACL."
        )
    if code in REFUSED:
        return BusUnavailable(f"Kafka did not take the event for topic {topic!r}: {text}{_because(reason)}")
    if not sent:
        return unreachable(error, reason)
    return OutcomeUnknown(f"Kafka did not confirm the event for topic {topic!r} in time: {text}{_because(reason)}")


def transactions_unavailable(error: KafkaError, transactional_id: str, reason: str = "") -> BusUnavailable:
    """Kafka gives the gateway no transactional producer. `reason`: what was last wrong with the connection."""
    if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        prefix = transactional_id.rpartition("-")[0]
        return BusUnavailable(
            "The gateway's Kafka user lacks the right WRITE for transactional ids: give it by an ACL for all with the "
            f"prefix '{prefix}-'."
        )
    text = (error.code() in UNREACHABLE and reason) or error.str()
    return BusUnavailable(f"Kafka is not ready for transactions: {text}")


def not_committed(error: KafkaError, topics: str, reason: str) -> InlakeError:
    """A transaction that Kafka never was told to commit failed as a whole. `topics`: those that it wrote to."""
    if error.code() in NO_SUCH_TOPIC | TOO_LARGE | FORBIDDEN | REFUSED:
        return of_kafka_error(error, topics, sent=False, reason=reason)
    text = (error.code() in UNREACHABLE and reason) or plain_text(error)
    return BusUnavailable(f"The transaction failed and nothing of it was published: {text}")


class NoAnswerError(Exception):
    """One broker did not answer a question about a topic: that says nothing about the topic, or of other brokers."""

    def __init__(self, error: InlakeError) -> None:
        """`error`: what a publisher is told, if the topic is not known otherwise."""
        super().__init__(error.detail)
        self.error = error


def topic_missing(topic: str) -> TopicMissing:
    """A topic is not there, and the gateway is not to create it."""
    return TopicMissing(f"Kafka has no topic {topic!r}: create it, or set INLAKE_KAFKA_CREATE_TOPICS=true.")


def unreachable(error: KafkaError, reason: str) -> BusUnavailable:
    """A question to Kafka got no answer. `reason`: what was last wrong with the connection; a time-out says less."""
    return BusUnavailable(f"Kafka cannot be used: {(error.code() in UNREACHABLE and reason) or error.str()}")


def plain_text(error: KafkaError) -> str:
    """The error's text without librdkafka's inner states."""
    return _STATE.sub("", error.str())


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
