"""What our producer makes of librdkafka's properties, and what it leaves to librdkafka."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from inlake.bus.kafka.producer.compression import CODECS
from inlake.bus.kafka.properties import CONNECTION, FIXED, TUNING, Access, check_fixed, find_access, of_librdkafka
from tests.certificates import make_authority

SASL = {"sasl.mechanism": "PLAIN", "sasl.username": "museum", "sasl.password": "secret"}


def found(servers: str = "kafka:9092", **properties: str) -> Access | None:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return find_access({**CONNECTION, "bootstrap.servers": servers, **named})


def access(servers: str = "kafka:9092", **properties: str) -> Access:
    known = found(servers, **properties)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("kafka", ("kafka", 9092)),
        ("kafka:9093", ("kafka", 9093)),
        ("PLAINTEXT://kafka:9093", ("kafka", 9093)),
        ("SASL_SSL://kafka", ("kafka", 9092)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:9093", ("::1", 9093)),
        ("[::1]", ("::1", 9092)),
        ("SSL://[fe80::1]:9093", ("fe80::1", 9093)),
        (" kafka:9093 ", ("kafka", 9093)),
    ],
)
def test_an_address_is_host_and_port(server: str, address: tuple[str, int]) -> None:
    assert access(server).servers == (address,)


def test_addresses_are_separated_by_commas_and_empty_ones_are_none() -> None:
    assert access("a:1,b:2, ,c,").servers == (("a", 1), ("b", 2), ("c", 9092))


@pytest.mark.parametrize("server", ["kafka:port", "kafka:0", "kafka:65536", "kafka:-1", "kafka:"])
def test_what_is_no_port_is_left_to_librdkafka(server: str) -> None:
    assert found(server) is None


@pytest.mark.parametrize("name", ["debug", "ssl.keystore.location"])
def test_a_property_about_something_else_leaves_publishing_to_librdkafka(name: str) -> None:
    assert found(**{name: "1"}) is None
    assert of_librdkafka({**CONNECTION, name: "1"}) == [name]


@pytest.mark.parametrize("name", ["transaction.timeout.ms", "socket.keepalive.enable", *sorted(TUNING)])
def test_a_property_that_says_nothing_about_it_does_not(name: str) -> None:
    assert found(**{name: "1"}) is not None


@pytest.mark.parametrize("name", ["compression.type", "compression.codec"])
def test_every_codec_of_kafka_is_known(name: str) -> None:
    assert access().compression == "none"
    assert {access(**{name: codec}).compression for codec in ("none", "gzip", "lz4", "SNAPPY", "ZSTD")} == CODECS.keys()
    assert found(**{name: "brotli"}) is None


def test_nothing_asks_for_less_than_librdkafka_would_do() -> None:
    plain = access()
    assert (plain.tls, plain.mechanism, plain.client_id, plain.backoff) == (None, "", "inlake", (0.25, 1.0))
    assert access(client_id="other", reconnect_backoff_ms="100").backoff == (0.1, 1.0)


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "sasl_plaintext", "Sasl_Plaintext"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_protocol_and_mechanism_may_be_in_any_case(protocol: str, mechanism: str) -> None:
    known = access(security_protocol=protocol, **SASL | {"sasl.mechanism": mechanism})
    assert (known.mechanism, known.user, known.password) == (mechanism.upper(), "museum", "secret")
    assert known.tls is None


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "GSSAPI", ""])
def test_other_mechanisms_are_left_to_librdkafka(mechanism: str) -> None:
    assert found(security_protocol="SASL_SSL", sasl_mechanism=mechanism) is None


def test_a_mechanism_without_sasl_is_of_no_interest() -> None:
    assert access(sasl_mechanism="OAUTHBEARER").mechanism == ""


def test_the_older_name_of_the_mechanism_is_known() -> None:
    assert access(security_protocol="SASL_PLAINTEXT", sasl_mechanisms="PLAIN").mechanism == "PLAIN"


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(access(security_protocol="SASL_PLAINTEXT", **SASL))


# --------------------------------------------------------------------------------------------------------------- TLS
def tls(**properties: str) -> ssl.SSLContext:
    context = access(security_protocol="ssl", **properties).tls
    assert context is not None
    return context


def test_certificates_and_names_are_verified_unless_one_says_no(tmp_path: Path) -> None:
    ca = str(make_authority(tmp_path).ca)
    given = tls(ssl_ca_location=ca)
    assert (given.verify_mode, given.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(given.get_ca_certs()) == 1
    assert len(tls(ssl_ca_pem=Path(ca).read_text()).get_ca_certs()) == 1
    nameless = tls(ssl_endpoint_identification_algorithm="none")
    assert (nameless.verify_mode, nameless.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize("no", ["false", "False", "0", "f"])
def test_verifying_may_be_turned_off(no: str) -> None:
    context = tls(enable_ssl_certificate_verification=no)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("folder", [True, False])
def test_an_authority_may_be_a_folder_or_that_of_the_system(folder: bool, tmp_path: Path) -> None:
    assert tls(ssl_ca_location=str(tmp_path) if folder else "probe").verify_mode == ssl.CERT_REQUIRED


def test_a_file_that_is_not_there_or_is_no_certificate_is_left_to_librdkafka(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    assert found(security_protocol="SSL", ssl_ca_location=str(tmp_path / "absent.pem")) is None
    assert found(security_protocol="SSL", ssl_ca_location=str(tmp_path / "empty.pem")) is None
    assert found(security_protocol="SSL", ssl_certificate_location=str(tmp_path / "empty.pem")) is None


def test_a_certificate_of_ones_own_is_taken_with_its_key(tmp_path: Path) -> None:
    server = str(make_authority(tmp_path).server)
    assert tls(ssl_certificate_location=server, ssl_key_location=server).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acks", "0"),
        ("acks", "1"),
        ("request.required.acks", "1"),
        ("enable.idempotence", "false"),
        ("partitioner", "fnv1a"),
    ],
)
def test_what_the_guarantees_rest_on_cannot_be_set_to_something_else(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be "):
        check_fixed({name: value, "debug": "all"})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FIXED.items() for value in values])
def test_what_the_guarantees_rest_on_may_be_set_to_what_it_is(name: str, value: str) -> None:
    check_fixed({name: value.upper(), "client.id": "museum"})
    assert found(**{name: value}) is not None, "our own producer has it so"
