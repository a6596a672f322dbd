"""Private keys and wallets: whole, in pieces, and as words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.redaction.secret_shape import BEGINS, Shape, Span, shape

_BREAK = r"(?:\s|\\+[nr])"
_END = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
_LAST_LINE = re.compile(rf"[A-Za-z0-9+/]{{1,76}}={{0,2}}(?:{_BREAK}|\\)*\Z")
_LINE_BEFORE = re.compile(rf"[A-Za-z0-9+/]{{40,77}}={{0,2}}(?:{_BREAK}|\\)*\Z")
_LONGEST_LINE = 90

# What the keys' own encodings begin with: PKCS#1, PKCS#8 (also encrypted), SEC 1, Ed25519, OpenSSH.
_DER = (
    r"(?-i:MII[A-Za-z0-9+/]{3}IBA[A-D]|MII[A-Za-z0-9+/]{2,6}BgkqhkiG9w0BBQ|MI[GH][A-Za-z0-9+/]AgE[AB]"
    r"|MHcCAQEE|MC4CAQAw|b3BlbnNzaC1rZXktdjE)"
)
_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
_WIF = re.compile(
    rf"(?<![A-Za-z0-9])(?:5[HJK]{_BASE58}{{49}}|(?:K[w-z]|L[1-5]){_BASE58}{{50}})(?![A-Za-z0-9])"
)
WIF_SIGNS = tuple(
    before + begin
    for before in " \"'=:([,\\"
    for begin in re.findall("..", "5H5J5KKwKxKyKzL1L2L3L4L5")
)
"""One of them is in each line of JSON that has a WIF key."""


def _headless(text: str) -> Iterator[Span]:
    """A key of which only the end is there."""
    done = 0
    for end in _END.finditer(text):
        start, pattern = end.start(), _LAST_LINE
        while line := pattern.search(text, max(done, start - _LONGEST_LINE), start):
            start, pattern = line.start(), _LINE_BEFORE
        done = end.end()
        if start < end.start():
            yield start, done


KEY_MATERIAL = (
    shape(
        "a private key",
        "-----begin",
        r"(?s:-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z))",
    ),
    Shape("a private key", ("-----end",), _headless),
    shape(
        "a private key",
        "MII MIG MIH MHcCAQ MC4CAQ b3BlbnN",
        rf"{BEGINS}{_DER}[A-Za-z0-9+/]*+={{0,2}}(?:{_BREAK}+[A-Za-z0-9+/]{{40,76}}+={{0,2}})*"
        rf"(?:{_BREAK}+[A-Za-z0-9+/]{{1,76}}+={{1,2}})?",
    ),
    shape(
        "the words of a wallet",
        "mnemonic phrase seed wallet",
        r"(?P<keep>(?<![A-Za-z])(?:mnemonic|wallet|seed|(?:seed|recovery)[_\- ]?(?:phrase|words))"
        r"\W{1,6})"
        r"(?:[a-z]{2,10}[\s,]{1,3}){11,23}[a-z]{2,10}",
    ),
    # A seed of one-time codes, as phones show it.
    shape(
        "a seed of one-time codes",
        "seed secret authenticator totp 2fa",
        r"(?P<keep>\b(?:seed|secret|authenticator|totp|2fa)\W{1,4})"
        r"(?-i:(?:[A-Z2-7]{4}[ \-]){3,15}[A-Z2-7]{4})",
    ),
    # Made from the key: Account.from_key("0x…"), importprivkey …
    shape(
        "a private key",
        "from_key fromkey importpriv import_ keypair signer private wallet( wallet= wallet: wallet'"
        ' wallet"',
        r"(?P<keep>(?:from_?(?:private_?|secret_?)?key|importpriv\w{0,8}|import_\w{0,12}|keypair|signer"
        r"|wallet|private)\W{1,4})(?:0x)?[0-9a-f]{64}(?![0-9a-f])",
    ),
)


def wif_keys(text: str) -> Iterator[Span]:
    """Private keys as Bitcoin's wallets export them. They stand anywhere and begin with nothing
    that is rare, so they are looked for in each text that is masked at all."""
    return (found.span() for found in _WIF.finditer(text)) if len(text) >= 51 else iter(())
