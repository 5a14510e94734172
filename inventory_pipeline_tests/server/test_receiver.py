"""Webhooks over real HTTP into a real Postgres."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.hooks import MAX_BODY_BYTES, Limits
from inventory_pipeline.server.intake import Accepted, GroupedInbox
from inventory_pipeline.server.rates import Rate
from inventory_pipeline_tests.server.conftest import NOW, SignedShop, order


@pytest.fixture
def receiver(ctx, serve):
    return serve(create_app(ctx))


def stored(pg: Postgres) -> list[tuple]:
    with pg.connection() as connection:
        return connection.execute(
            "SELECT system, topic, delivery_id, body, received_at FROM hub.inbox ORDER BY inbox_id"
        ).fetchall()


def test_a_signed_delivery_is_in_postgres_when_it_is_answered(receiver, pg):
    body = order("e1")
    answer = receiver.send(body)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert [(s, t, d, bytes(b), at) for s, t, d, b, at in stored(pg)] == [
        ("shop", "orders", "d1", body, NOW)
    ]


def test_the_body_is_kept_byte_by_byte(receiver, pg):
    body = b'{"a":  1.10, "\xc3\xa9": "\\u00e9"}\n'
    assert receiver.send(body).status_code == 200
    assert bytes(stored(pg)[0][3]) == body


def test_a_forged_delivery_is_refused_and_not_stored(receiver, pg):
    answer = receiver.send(order("e1"), signature="0" * 64)
    assert answer.status_code == 401
    assert stored(pg) == []


def test_one_changed_byte_makes_it_forged(receiver, pg):
    import hashlib
    import hmac

    from inventory_pipeline_tests.server.conftest import SECRET

    body = order("e1")
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    assert receiver.send(body.replace(b": 2", b": 3"), signature=signature).status_code == 401
    assert stored(pg) == []


def test_an_unknown_system_is_not_found(receiver):
    assert receiver.send(order("e1"), to="nobody").status_code == 404


def test_a_system_without_webhooks_is_not_found(receiver):
    assert receiver.send(order("e1"), to="wms").status_code == 404


def test_an_announced_flood_is_refused_before_it_is_read(receiver, pg):
    answer = receiver.send(b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert stored(pg) == []


def test_a_flood_of_unknown_length_is_cut_off(receiver, pg):
    def chunks():
        for _ in range(MAX_BODY_BYTES // 65_536 + 2):
            yield b"x" * 65_536

    answer = receiver.http.post("/hooks/shop", content=chunks())
    assert answer.status_code == 413
    assert stored(pg) == []


def test_the_largest_body_is_taken(receiver, pg):
    assert receiver.send(b"x" * MAX_BODY_BYTES).status_code == 200
    assert len(stored(pg)) == 1


def test_the_same_delivery_twice_is_accepted_twice_and_left_to_the_ledger(receiver, pg):
    assert [receiver.send(order("e1")).status_code for _ in range(2)] == [200, 200]
    assert len(stored(pg)) == 2


def test_deliveries_that_arrive_together_share_commits(ctx, pg):
    import asyncio

    from inventory_pipeline.core.ports import Delivery, Verified

    group = GroupedInbox(pg)

    async def arrive() -> None:
        delivery = Delivery(headers={}, body=b"{}", received_at=NOW)
        await asyncio.gather(
            *(
                group.put(
                    Accepted(
                        system="shop",
                        verified=Verified(topic="orders", delivery_id=str(number)),
                        delivery=delivery,
                    )
                )
                for number in range(300)
            )
        )

    asyncio.run(arrive())
    assert len(stored(pg)) == 300
    assert group.commits == 2


def test_one_delivery_that_postgres_cannot_store_does_not_take_others_along(ctx, pg):
    import asyncio

    import psycopg

    from inventory_pipeline.core.ports import Delivery, Verified

    group = GroupedInbox(pg)

    def accepted(delivery_id: str) -> Accepted:
        return Accepted(
            system="shop",
            verified=Verified(topic="orders", delivery_id=delivery_id),
            delivery=Delivery(headers={}, body=b"{}", received_at=NOW),
        )

    async def arrive() -> list[object]:
        return await asyncio.gather(
            *(group.put(accepted(name)) for name in ("a", "b\x00b", "c")), return_exceptions=True
        )

    outcomes = asyncio.run(arrive())
    assert isinstance(outcomes[1], psycopg.DataError)
    assert [outcomes[0], outcomes[2]] == [None, None]
    assert [row[2] for row in stored(pg)] == ["a", "c"]


def test_many_senders_at_once_lose_nothing(receiver, pg):
    def send(number: int) -> int:
        return receiver.send(order(f"e{number}")).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(200))) == {200}
    assert len(stored(pg)) == 200


def test_a_delivery_that_was_recorded_and_sent_again_later_is_refused(ctx, pg, serve, shop):
    """Where a system signs a time: five minutes either way."""
    from dataclasses import replace
    from datetime import timedelta

    plain = shop.verify
    off = [timedelta(0)]
    shop.verify = lambda delivery: replace(plain(delivery), signed_at=NOW + off[0])
    receiver = serve(create_app(ctx))
    answers = []
    for minutes in (0, 5, -5, 5.1, -5.1):
        off[0] = timedelta(minutes=minutes)
        answers.append(receiver.send(order("e1")).status_code)
    assert answers == [200, 200, 200, 401, 401]
    assert len(stored(pg)) == 3


def test_a_system_that_floods_is_told_when_to_come_again_and_others_are_not(ctx, pg, serve):
    from dataclasses import replace

    limits = Limits(
        deliveries=Rate(per_second=0.1, burst=3), forgeries=Rate(per_second=1, burst=100)
    )
    other = SignedShop()
    other.system = "other"
    both = replace(ctx, connectors={**ctx.connectors, "other": other})
    receiver = serve(create_app(both, hook_limits=limits))
    answers = [receiver.send(order(f"e{n}")) for n in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert receiver.send(order("e9"), to="other").status_code == 200
    assert len(stored(pg)) == 4


def test_whoever_guesses_signatures_is_not_read_any_more(ctx, pg, serve):
    limits = Limits(
        deliveries=Rate(per_second=1000, burst=1000), forgeries=Rate(per_second=0.1, burst=5)
    )
    receiver = serve(create_app(ctx, hook_limits=limits))
    tries = [receiver.send(order("e1"), signature="0" * 64).status_code for _ in range(7)]
    assert tries == [401] * 5 + [429] * 2


def test_while_a_secret_is_rotated_both_count(ctx, pg, serve):
    import base64
    import hashlib
    import hmac
    from dataclasses import replace

    from inventory_pipeline.config.secrets import Secret
    from inventory_pipeline.connectors.signatures import check_signature
    from inventory_pipeline.core.ports import Verified

    class Rotating(SignedShop):
        def verify(self, delivery):
            secrets = (Secret("new"), Secret("old"))
            check_signature(delivery, header="x-signature", secrets=secrets, system="shop")
            return Verified(topic="orders", delivery_id="d1")

    receiver = serve(create_app(replace(ctx, connectors={"shop": Rotating()})))

    def signed(secret: str) -> str:
        digest = hmac.new(secret.encode(), order("e1"), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    answers = [
        receiver.send(order("e1"), signature=signed(secret)).status_code
        for secret in ("new", "old", "older")
    ]
    assert answers == [200, 200, 401]


def test_the_address_is_kept_as_the_sender_wrote_it(receiver, pg):
    receiver.http.post("/hooks/shop?a=%20b", content=order("e1"), headers=receiver.signed(b""))
    with pg.connection() as connection:
        assert connection.execute("SELECT url FROM hub.inbox").fetchall() == []
    answer = receiver.http.post(
        "/hooks/shop?a=%20b", content=order("e1"), headers=receiver.signed(order("e1"))
    )
    assert answer.status_code == 200
    with pg.connection() as connection:
        [(url,)] = connection.execute("SELECT url FROM hub.inbox").fetchall()
    assert url == f"{receiver.url}/hooks/shop?a=%20b"


def test_deliveries_are_posted(receiver):
    answer = receiver.http.get("/hooks/shop")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_delivery_that_only_tries_the_address_out_is_answered_and_not_kept(ctx, pg, serve, shop):
    from inventory_pipeline.core.ports import Verified

    shop.verify = lambda delivery: Verified(topic="ping", delivery_id="", keep=False)
    receiver = serve(create_app(ctx))
    answer = receiver.send(b"webhook_id=1")
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert stored(pg) == []


class Gate:
    """A port in front of Postgres that can be shut: connections end, and new ones are refused."""

    def __init__(self, socket_path: str) -> None:
        import socket

        self._target = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.shut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close_gate(self) -> None:
        import socket

        self.shut = True
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        import socket

        while True:
            client, _ = self._listener.accept()
            if self.shut:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _pump(source, target) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, target):
                one.close()


@pytest.fixture
def gate(pg_url):
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(pg_url)
    folder = parse_qs(parts.query).get("host", [""])[0]
    if not folder:
        pytest.skip("this Postgres listens on TCP; the gate stands before a unix socket")
    gate = Gate(f"{folder}/.s.PGSQL.5432")
    gate.url = f"postgresql://{parts.username}@127.0.0.1:{gate.port}{parts.path}"
    return gate


def test_while_postgres_is_away_senders_are_told_to_come_again_and_nothing_is_lost(
    ctx, pg, gate, serve
):
    from dataclasses import replace

    away = Postgres(gate.url, patience_s=1)
    receiver = serve(create_app(replace(ctx, pg=away), patience_s=0.5))
    assert receiver.send(order("before")).status_code == 200

    gate.close_gate()
    answer = receiver.send(order("meanwhile"))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert receiver.http.get("/v1/health").status_code == 503
    assert receiver.http.get("/").status_code == 503

    gate.shut = False
    until = time.monotonic() + 15
    while (answer := receiver.send(order("meanwhile"))).status_code == 503:
        assert time.monotonic() < until, "it did not recover"
        time.sleep(0.1)
    assert answer.status_code == 200
    assert [b"before" in bytes(row[3]) for row in stored(pg)] == [True, False]
    away.close()


def test_a_sender_that_hangs_up_harms_nobody(receiver, pg):
    import socket

    host, port = receiver.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as rude:
        rude.sendall(b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert receiver.send(order("e1")).status_code == 200
    assert len(stored(pg)) == 1


def test_the_receiver_says_what_it_is_in_openapi(receiver):
    described = httpx.get(f"{receiver.url}/openapi.json").json()
    assert {"/hooks/{system}", "/v1/ats", "/v1/health"} <= set(described["paths"])
