"""Every trouble of HTTP becomes the error that says what to do next."""

import time
from email.utils import formatdate

import pytest
import stamina

from inventory_pipeline.connectors.http import (
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    retry_after_s,
    utc_time,
)
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    HubError,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
)
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted

HTML = b"<!DOCTYPE html><html><title>Maintenance</title></html>"


OPEN: list[Caller] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


def caller(url: str, **more) -> Caller:
    OPEN.append(Caller(system="shop", base_url=url, **{"timeout_s": 0.5} | more))
    return OPEN[-1]


def trouble_of(reply: Reply, **more) -> Trouble:
    with scripted(reply) as script, pytest.raises(Trouble) as error:
        caller(script.url, **more).once("POST", "/x", json={})
    return error.value


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply(status=401, body={"errors": "no"}), Kind.REFUSED, "answered 401"),
        (Reply(status=403, body=HTML), Kind.REFUSED, "answered 403"),
        (Reply(status=404), Kind.REFUSED, "answered 404"),
        (
            Reply(status=302, headers={"Location": "/login"}),
            Kind.REFUSED,
            "redirects (302) to /login",
        ),
        (Reply(status=429, headers={"Retry-After": "7"}), Kind.BUSY, "answered 429"),
        (Reply(status=500, body=b"oops"), Kind.UNKNOWN, "answered 500: 'oops'"),
        (Reply(status=503), Kind.UNKNOWN, "answered 503"),
        (Reply(body=HTML), Kind.UNKNOWN, "with HTML"),
        (Reply(body=b"{half"), Kind.UNKNOWN, "not JSON"),
        (Reply(body=b'{"a": 1', cut=True), Kind.UNKNOWN, "broke off"),
        (Reply(hang_up=True), Kind.UNKNOWN, "broke off"),
        (Reply(wait_s=1), Kind.UNKNOWN, "did not answer within 0.5 s"),
        (Reply(body=b" " * 40 + b"{}", trickle_s=0.05), Kind.UNKNOWN, "did not answer within"),
    ],
)
def test_what_is_known_after_an_answer(reply, kind, said):
    trouble = trouble_of(reply)
    assert trouble.kind is kind
    assert said in trouble.message


def test_nobody_there_means_that_nothing_happened():
    with pytest.raises(Trouble) as error:
        caller(closed_port()).once("POST", "/x")
    assert error.value.kind is Kind.BUSY


@pytest.mark.parametrize(
    ("kind", "purpose", "type_"),
    [
        (Kind.BUSY, Purpose.SOURCE, SourceUnreachable),
        (Kind.UNKNOWN, Purpose.SOURCE, SourceUnreachable),
        (Kind.REFUSED, Purpose.SOURCE, SourceRefused),
        (Kind.BUSY, Purpose.LEVELS, ChannelBusy),
        (Kind.UNKNOWN, Purpose.LEVELS, ChannelBusy),
        (Kind.REFUSED, Purpose.LEVELS, ChannelRefused),
        (Kind.BUSY, Purpose.WRITE, ChannelBusy),
        (Kind.UNKNOWN, Purpose.WRITE, OutcomeUnknown),
        (Kind.REFUSED, Purpose.WRITE, ChannelRefused),
    ],
)
def test_the_purpose_decides_the_error(kind, purpose, type_):
    error = as_error(Trouble(kind, "why"), purpose, system="shop", call="do it")
    assert type(error) is type_
    assert "shop: do it: why" in str(error)
    assert "What to do" in str(error) or kind is Kind.REFUSED


def test_a_pause_is_given_in_seconds_or_as_a_date():
    now = time.time()
    assert retry_after_s({"retry-after": "7"}, now=now) == 7
    assert retry_after_s(
        {"retry-after": formatdate(now + 90, usegmt=True)}, now=now
    ) == pytest.approx(90, abs=1)
    assert retry_after_s({"retry-after": formatdate(now - 90, usegmt=True)}, now=now) == 0
    assert retry_after_s({"retry-after": "soon"}, now=now) == 1
    assert retry_after_s({"retry-after": "nan"}, now=now) == 0
    assert retry_after_s({"retry-after": "1e12"}, now=now) == 3600
    assert retry_after_s({}, now=now) == 1


def test_a_read_is_repeated_a_few_times_and_a_single_call_is_not():
    with scripted(Reply(status=500), Reply(status=502), Reply(body={"n": 1})) as script:
        assert caller(script.url).read("GET", "/x").body == {"n": 1}
        assert len(script.asked) == 3
    with scripted(Reply(status=500)) as script:
        with pytest.raises(Trouble):
            caller(script.url).read("GET", "/x")
        assert len(script.asked) == 3
    with scripted(Reply(status=500), Reply(body={})) as script:
        with pytest.raises(Trouble):
            caller(script.url).once("POST", "/x")
        assert len(script.asked) == 1


def test_a_read_that_is_refused_or_told_to_wait_long_is_not_repeated():
    for reply in (Reply(status=401), Reply(status=429, headers={"Retry-After": "30"})):
        with scripted(reply) as script:
            with pytest.raises(Trouble):
                caller(script.url).read("GET", "/x")
            assert len(script.asked) == 1


@pytest.mark.parametrize(
    "url", ["shop.example", "ftp://x", "http://", "http://[", "http://x:99999"]
)
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(HubError, match=r"systems\.shop\.options"):
        caller(url)


def test_one_moment_has_one_spelling():
    assert utc_time("2026-03-02T08:05:00-05:00") == "2026-03-02T13:05:00Z"
    assert utc_time("2026-03-02T13:05:00") == "2026-03-02T13:05:00Z"
    assert utc_time("never") == "never"
