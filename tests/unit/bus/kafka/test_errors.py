"""Every code a broker may answer a batch with has a verdict, and every error is a sentence."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from inlake.bus.kafka.errors import Verdict, of_code, of_kafka_error, outcome_unknown, topic_missing, verdict
from inlake.errors import BusUnavailable, OutcomeUnknown, RecordTooLarge, TopicMissing


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        (0, Verdict.WRITTEN),
        (46, Verdict.DUPLICATE),
        (2, Verdict.RETRIABLE),  # CORRUPT_MESSAGE
        (3, Verdict.RETRIABLE),  # UNKNOWN_TOPIC_OR_PARTITION
        (19, Verdict.RETRIABLE),  # NOT_ENOUGH_REPLICAS
        (6, Verdict.UNKNOWN),  # NOT_LEADER_OR_FOLLOWER: said after writing, too
        (7, Verdict.UNKNOWN),  # REQUEST_TIMED_OUT
        (20, Verdict.UNKNOWN),  # NOT_ENOUGH_REPLICAS_AFTER_APPEND
        (56, Verdict.UNKNOWN),  # KAFKA_STORAGE_ERROR
        (-1, Verdict.UNKNOWN),
        (999, Verdict.UNKNOWN),
        (10, Verdict.TOO_LARGE),
        (18, Verdict.TOO_LARGE),
        (29, Verdict.REFUSED),
        (31, Verdict.REFUSED),
        (32, Verdict.REFUSED),  # INVALID_TIMESTAMP
        (87, Verdict.REFUSED),  # INVALID_RECORD
        (45, Verdict.NEW_EPOCH),
        (47, Verdict.NEW_EPOCH),
        (49, Verdict.NEW_EPOCH),
        (59, Verdict.NEW_EPOCH),
    ],
)
def test_a_code_means_what_kafka_means_by_it(code: int, meant: Verdict) -> None:
    assert verdict(code) is meant


def test_any_code_gives_a_sentence_about_the_topic() -> None:
    for code in range(-(1 << 15), 1 << 15, 7):
        assert isinstance(verdict(code), Verdict)
        assert "'topic'" in of_code(code, "topic").detail
        assert "'topic'" in outcome_unknown("topic", 10, code).detail


def test_an_error_has_the_kind_of_its_cause() -> None:
    assert isinstance(of_code(3, "topic"), TopicMissing)
    assert isinstance(of_code(10, "topic"), RecordTooLarge)
    assert isinstance(of_code(19, "topic"), BusUnavailable)
    assert isinstance(outcome_unknown("topic", 10, 0, "no answer"), OutcomeUnknown)
    assert "no answer" in outcome_unknown("topic", 10, 0, "no answer").detail
    assert KafkaError(7).str() in outcome_unknown("topic", 10, 7, "no answer").detail


def test_a_right_that_older_brokers_ask_for_is_named_where_they_refuse_the_cluster() -> None:
    of_cluster = of_kafka_error(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "t", sent=False)
    of_topic = of_kafka_error(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "t", sent=False)
    assert "WRITE for topic 't' (before Kafka 2.8: IDEMPOTENT_WRITE on the cluster)" in of_cluster.detail
    assert "IDEMPOTENT_WRITE" not in of_topic.detail


def test_a_topic_that_went_away_is_no_reason_to_tell_of_a_setting_that_may_be_set() -> None:
    gone = of_kafka_error(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "t", sent=False)
    assert isinstance(gone, TopicMissing)
    assert "INLAKE_" not in gone.detail
    assert "INLAKE_KAFKA_CREATE_TOPICS" in topic_missing("t").detail
