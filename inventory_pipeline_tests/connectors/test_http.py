"""Every trouble of HTTP becomes the error that says what to do next."""

import time
from email.utils import formatdate

import pytest
import stamina
from structlog.testing import capture_logs

from inventory_pipeline.connectors.headers import clock_skew_s, retry_after_s
from inventory_pipeline.connectors.http import (
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
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
        (Reply(body=b"{half"), Kind.UNKNOWN, "with something that is not JSON to its end"),
        (Reply(body=b"OK"), Kind.UNKNOWN, "with something that is not JSON: 'OK'"),
        (Reply(body=b""), Kind.UNKNOWN, "with nothing"),
        (Reply(body=b"[" * 100_000), Kind.UNKNOWN, "not JSON to its end"),
        (Reply(body=b'"\xff"'), Kind.UNKNOWN, "not JSON"),
        (
            Reply(body=b"{}", headers={"Content-Encoding": "gzip"}),
            Kind.UNKNOWN,
            "unreadable answer",
        ),
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


@pytest.mark.parametrize(
    ("reply", "what_to_do"),
    [
        (Reply(status=401), "wrong, revoked or expired: renew them"),
        (Reply(status=403), "may not do this: give them the rights"),
        (Reply(status=404), "compare hub.yaml with"),
        (Reply(status=301, headers={"Location": "/there"}), "put the final address into hub.yaml"),
        (Reply(body=HTML), "a login or maintenance page looks like this"),
    ],
)
def test_an_answer_that_a_person_must_see_to_says_what_to_do(reply, what_to_do):
    trouble = trouble_of(reply)
    for purpose in Purpose:
        error = as_error(trouble, purpose, system="shop", call="read orders")
        assert str(error).startswith("shop: read orders: 127.0.0.1 ")
        assert what_to_do in str(error)


def test_trouble_keeps_what_was_answered():
    trouble = trouble_of(Reply(status=422, body={"code": "odd"}))
    assert (trouble.status, trouble.content) == (422, b'{"code": "odd"}')
    assert trouble_of(Reply(hang_up=True)).status == 0


def test_an_answer_without_content_is_none():
    with scripted(Reply(status=204)) as script:
        assert caller(script.url).once("POST", "/x").body is None


def test_a_storm_of_errors_is_asked_a_few_times_and_no_more():
    for status in (429, 500, 503):
        with scripted(Reply(status=status, headers={"Retry-After": "0"})) as script:
            asking = caller(script.url)
            for _ in range(3):
                with pytest.raises(Trouble, match=f"answered {status}"):
                    asking.read("GET", "/x")
            assert len(script.asked) == 9


def test_a_clock_that_differs_is_told_once_and_its_end_too():
    ours = [time.time()]
    with scripted(Reply(body={})) as script, capture_logs() as logs:
        asking = caller(script.url, wall=lambda: ours[0])
        for now, told in [(0, 0), (-45, 0), (-75, 1), (-75, 1), (0, 2), (75, 3), (75, 3)]:
            ours[0] = time.time() + now
            asking.once("GET", "/x")
            assert len(logs) == told
    behind, agree, ahead = logs
    assert (behind["log_level"], behind["event"], behind["system"]) == (
        "warning", "clocks differ", "shop",
    )  # fmt: skip
    assert behind["ahead_s"] == pytest.approx(75, abs=2)
    assert "time server" in behind["hint"]
    assert agree["event"] == "clocks agree again"
    assert ahead["ahead_s"] == pytest.approx(-75, abs=2)


def test_a_slow_or_a_kept_answer_says_nothing_of_clocks():
    date = {"date": formatdate(1_000_000, usegmt=True)}
    assert clock_skew_s(date, asked=999_000, answered=1_001_000) == 0
    assert clock_skew_s(date, asked=1_000_000.9, answered=1_000_001) == 0
    assert clock_skew_s(date, asked=1_000_091, answered=1_000_092) == -90
    assert clock_skew_s(date | {"age": "90"}, asked=1_000_091, answered=1_000_092) is None
    assert clock_skew_s({}, asked=0, answered=0) is None


def test_a_pause_until_a_date_is_counted_by_the_clock_that_named_it():
    headers = {
        "retry-after": formatdate(1_000_030, usegmt=True),
        "date": formatdate(1_000_000, usegmt=True),
    }
    assert retry_after_s(headers, now=5_000) == 30


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
