"""Tokens whose first letters say who issued them.

The shapes are those that these services document, and that the rule sets of gitleaks (MIT) and
detect-secrets (Apache-2.0) list; no code of theirs is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from exporter.redaction.secret_shape import Span


class _Issuer(NamedTuple):
    kind: str
    prefixes: Sequence[str]
    rest: re.Pattern[str]
    """What follows the prefix."""


def _issuer(kind: str, prefixes: str, least: int = 13, letters: str = r"\w\-") -> _Issuer:
    return _Issuer(kind, prefixes.split(), re.compile(rf"[{letters}]{{{least},}}", re.ASCII))


_HEX = "0-9a-fA-F"
_ISSUERS = (
    _issuer("a GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_"),
    _issuer("a GitLab token", "glpat- gldt- glrt- glcbt- glptt- glft- glagent- gloas- glsoat-"),
    _issuer("a Slack token", "xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", 6),
    _issuer("a Grafana token", "glsa_ glc_"),
    _issuer("a key of an AI service", "sk- gsk_ xai- hf_ r8_ pplx- nvapi- lsv2_pt_ lsv2_sk_ tvly-"),
    _issuer("a Stripe key", "sk_live_ rk_live_ pk_live_ sk_test_ rk_test_ whsec_"),
    _issuer("a token of a package index", "npm_ pypi- rubygems_ dckr_pat_ CIOk"),
    _issuer("a DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_"),
    _issuer("a Shopify token", "shpat_ shpca_ shppa_ shpss_"),
    _issuer("a Google key", "AIza ya29. GOCSPX-", 20, r"\w\-."),
    _issuer("a SendGrid key", "SG.", 20, r"\w\-."),
    _issuer("an Alpaca key", "PK AK", 18, "0-9A-Z"),
    _issuer("an IEX key", "pk_ sk_ Tpk_ Tsk_", 32, _HEX),
    _issuer("an AWS key", "AKIA ASIA ABIA ACCA AROA AIDA", 12, "0-9A-Z"),
    _issuer("a Vault token", "hvs. hvb. hvr."),
    _issuer("a Tailscale key", "tskey-"),
    _issuer("an Atlassian token", "ATATT3 ATCTT3 ATBB", 16, r"\w\-="),
    _issuer("a Doppler token", "dp.pt. dp.st. dp.ct. dp.sa.", 16, r"\w.\-"),
    _issuer("a Databricks token", "dapi", 32, _HEX),
    _issuer("a Dynatrace token", "dt0c01.", 16, r"\w."),
    _issuer("a New Relic key", "NRAK- NRII- NRJS-"),
    _issuer("a Postman key", "PMAK-"),
    _issuer("a Sentry token", "sntrys_ sntryu_"),
    _issuer("a Linear key", "lin_api_ lin_oauth_"),
    _issuer("a Notion token", "ntn_"),
    _issuer("a Notion token", "secret_", 43, "0-9a-zA-Z"),
    _issuer("a Matrix token", "syt_", 30),
    _issuer("a PlanetScale token", "pscale_tkn_ pscale_pw_ pscale_oauth_"),
    _issuer("a Square token", "sq0atp- sq0csp-"),
    _issuer("a Brevo key", "xkeysib- xsmtpsib-"),
    _issuer("a PostHog key", "phx_"),
    _issuer("a 1Password token", "ops_eyJ", 20),
    _issuer("a Cloudflare key", "v1.0-", 32, _HEX + r"\-"),
    _issuer("a Flutterwave key", "FLWSECK", 12),
    _issuer("an EasyPost key", "EZAK EZTK", 30),
    _issuer("a private key", "AGE-SECRET-KEY-", 20),
    _issuer("a Mailgun key", "key-", 32, _HEX),
    _issuer("a wallet's private key", "xprv yprv zprv tprv", 60),
)  # fmt: skip
_LOOKED_AT = 200
"""Characters by which is decided whether it is one."""
_NO_WORD = re.compile(r"[0-9A-Z]")

ISSUED: Mapping[str, _Issuer] = {p: issuer for issuer in _ISSUERS for p in issuer.prefixes}
"""What to look for, in any case."""
_BEGINS = re.compile(
    r"(?:\A|[^A-Za-z0-9_]|\\[abfnrtv0]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2}|\x1b\[[\d;]*m)\Z"
)


def issued_tokens(text: str, hits: Iterable[tuple[str, int, int]]) -> Iterator[Span]:
    """Tokens among the places where one of :data:`ISSUED` stands (what, start, end), from left to
    right, without overlaps."""
    done = 0
    for prefix, start, end in sorted(hits, key=lambda hit: hit[1]):
        issuer = ISSUED[prefix]
        if start < done or text[start:end] != prefix:
            continue
        if not _BEGINS.search(text, max(0, start - 12), start):
            continue
        begun = issuer.rest.match(text, end, end + _LOOKED_AT)
        if begun is None or not _fits(begun[0]):
            continue
        done = issuer.rest.match(text, end).end()  # type: ignore[union-attr]
        yield start, done


def _fits(rest: str) -> bool:
    # "sk-learn-contrib-extensions" is a name: in a token there are digits or capitals.
    return _NO_WORD.search(rest) is not None
