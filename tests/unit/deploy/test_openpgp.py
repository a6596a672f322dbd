"""One key out of a file of several, by its fingerprint."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import openpgp  # type: ignore[import-not-found]
from places import ProblemError  # type: ignore[import-not-found]

# Two keys that gpg made, "old" and "new"; nobody has their other halves.
_TWO = base64.b64decode(
    "mDMEaw3cRhYJKwYBBAHaRw8BAQdA6qW/YUx8ZH27tjsYgEq4fXMXxgHn4fCzjU0VTOR/Emm0A29sZIiQBBMWCAA4Fi"
    "EEHSwonLFURrN8oJW6NTlJULdal9IFAmsN3EYCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQNTlJULdal9IM"
    "2QD9FbClaPq+/L0+g3jXFrBRADT5kZW563Zg6NnkcO07AaYBAI3EEqnbKuNyqqNWaIca77NrZTuJP7BdTWxBugsv3b"
    "8CmDMEaw3cRhYJKwYBBAHaRw8BAQdA4E8Lk6O4V62jNmBUew+UusugCZ0KZapWvP6dA4U9KIm0A25ld4iQBBMWCAA4"
    "FiEEJjJsv5PlQ4EheDboVXb9aZLSmyMFAmsN3EYCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQVXb9aZLSmy"
    "OIzAEAqerqq8wagZG/FyYRs35iNB1swX2ZPtyUpf91p0/EnPgBAK+oG4FMHiAam6FrjPwYy3N4hmK18KEQ1j1IsoDb"
    "VqIF"
)
_OLD = "1D2C289CB15446B37CA095BA35394950B75A97D2"
_NEW = "26326CBF93E54381217836E85576FD6992D29B23"


def armored(keys: bytes) -> bytes:
    text = base64.encodebytes(keys)
    return (
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: two\n\n"
        + text
        + b"=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_each_key_is_found_and_the_other_left_out() -> None:
    """Armored or not; together they are the file."""
    old, new = openpgp.only(_TWO, _OLD), openpgp.only(_TWO, _NEW)
    assert old + new == _TWO
    assert b"old" in old
    assert b"old" not in new
    assert openpgp.only(armored(_TWO), " ".join(_NEW).lower()) == new


def test_another_fingerprint_is_refused() -> None:
    """With those that are there."""
    with pytest.raises(ProblemError, match=f"{'A' * 40}; it has {_OLD}, {_NEW}"):
        openpgp.only(_TWO, "A" * 40)
    with pytest.raises(ProblemError, match="no file of public keys"):
        openpgp.only(b"<html>not here</html>", _NEW)
