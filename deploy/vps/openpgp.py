"""A key out of a file of public keys, by its fingerprint (RFC 4880). The machine may have no gpg,
and apt would trust every key that lies in the file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from places import ProblemError

_PUBLIC_KEY = 6


def only(file: bytes, fingerprint: str) -> bytes:
    """The key with that fingerprint, with what belongs to it, as apt reads it. Raises
    :class:`ProblemError` when the file has no such key."""
    wanted, found, kept = fingerprint.replace(" ", "").upper(), [], b""
    is_wanted = False
    for tag, body, packet in _packets(_binary(file)):
        if tag == _PUBLIC_KEY:
            found.append(_fingerprint(body))
            is_wanted = found[-1] == wanted
        if is_wanted:
            kept += packet
    if not kept:
        raise ProblemError(
            f"no key there has the fingerprint {wanted}; it has {', '.join(found) or 'no key'}. If "
            "the source has a new key, compare that with what its makers publish, and name it"
        )
    return kept


def _binary(file: bytes) -> bytes:
    """Without the armor."""
    text = re.search(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END", file, re.DOTALL)
    if not text:
        return file
    lines = text[1].replace(b"\r", b"").partition(b"\n\n")[2].split(b"\n")
    return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")))


def _fingerprint(body: bytes) -> str:
    framed = b"\x99" + len(body).to_bytes(2, "big") + body
    return hashlib.sha1(framed).hexdigest().upper()  # noqa: S324  what a version 4 fingerprint is


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each packet's tag, its body, and all of it."""
    at = 0
    while at < len(data):
        first, begin = data[at], at
        if not first & 0x80:
            raise ProblemError("what was fetched is no file of public keys")
        if first & 0x40:
            tag, size, at = first & 0x3F, *_new_length(data, at + 1)
        else:
            octets = (1, 2, 4)[first & 3]  # an indeterminate length has no place in a key
            tag, size = first >> 2 & 0xF, int.from_bytes(data[at + 1 : at + 1 + octets], "big")
            at += 1 + octets
        yield tag, data[at : at + size], data[begin : at + size]
        at += size


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    one = data[at]
    if one < 192:
        return one, at + 1
    if one < 224:
        return (one - 192 << 8) + data[at + 1] + 192, at + 2
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
