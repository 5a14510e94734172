"""ECDSA on the curve P-256 in plain Python, enough to sign and to check what a test sends."""

import base64
import hashlib

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None


def _add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a or b
    (x1, y1), (x2, y2) = a, b
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    rise, run = (3 * x1 * x1 - 3, 2 * y1) if a == b else (y2 - y1, x2 - x1)
    slope = rise * pow(run, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return (x, (slope * (x1 - x) - y1) % _P)


def _times(number: int, point: Point) -> Point:
    total: Point = None
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _digest(body: bytes) -> int:
    return int.from_bytes(hashlib.sha1(body).digest(), "big")


def public_key(private: int) -> str:
    """The point as base64 of its 64 bytes."""
    point = _times(private, _G)
    assert point is not None
    return base64.b64encode(b"".join(n.to_bytes(32, "big") for n in point)).decode()


def signed(body: bytes, private: int, nonce: int = 0x51F3) -> str:
    """For tests only: a nonce that is used twice gives the key away."""
    point = _times(nonce, _G)
    assert point is not None
    r = point[0] % _N
    s = pow(nonce, -1, _N) * (_digest(body) + r * private) % _N
    return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()


def fits(body: bytes, signature: str, key: str) -> bool:
    """Whether the owner of the key signed these bytes."""
    raw, at = base64.b64decode(signature), base64.b64decode(key)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    if not (0 < r < _N and 0 < s < _N):
        return False
    inverse = pow(s, -1, _N)
    owner = (int.from_bytes(at[:32], "big"), int.from_bytes(at[32:], "big"))
    point = _add(_times(_digest(body) * inverse % _N, _G), _times(r * inverse % _N, owner))
    return point is not None and point[0] % _N == r
