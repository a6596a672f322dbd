"""What a secret looks like when nobody knows its value: names that tell, and well-known forms."""

from __future__ import annotations

import re

from ahocorasick_rs import AhoCorasick, BytesAhoCorasick

MASKED = "***"

# Whatever stands before one of these belongs to the name: smtp_password, X-API-Key.
_ENDS = (
    r"(?:(?:api|app|access|secret|private|routing|integration|service|signing|account|encryption"
    r"|consumer|session|license|genie|listen|priv)(?:[_\- ]|%5f)?keys?(?:[_-]?id)?"
    r"|(?:password|passwort|passwd|passphrase|passcode|pwd|secret|token|credential|jwt|webhook(?:[_-]?url)?"
    r"|session[_-]?id|mnemonic|seed[_\- ]?phrase){plural})"
)
_WHICH = (
    r"(?:[_-]?v?\d{1,3}|[_-][a-z]|[_-](?:prod|live|paper|test|demo|main|dev|old|new|backup))?"
    r"(?![a-z0-9])"
)
"""Of several accounts: api_key_2, TOKEN_A, password1, secret_prod."""
_WHOLE = r"(?:(?:proxy-|x-)?authorization|x-auth[\w-]*|cookie|set-cookie)"
_NAME = rf"(?:[\w-]*{_ENDS.format(plural='s?')}{_WHICH}|{_WHOLE})"
_WORDS = (
    "key token secret passw passphrase passcode pwd auth credential webhook cookie session"
    " mnemonic seed jwt"
)
"""One of them is in each such name."""
_SOME = _ENDS.format(plural="(?:(?<=credential)s)?") + f"(?:{_WHICH})?"
# Looked for in a text, a name is found by its end: trying every beginning takes the square of the
# text's length. Where a text is shown as a program writes it, a line before it ends with \\n.
_START = r"(?:\b|(?<=\\[nrt]))"
_TELLING_NAME = rf"(?:{_SOME}|(?:(?<![A-Za-z0-9])|(?<=\\[nrt])){_WHOLE})"
_TELLING_NAME_FROM_HERE = rf"(?:[\w-]*{_SOME}|{_WHOLE})"
NAME_IS_SECRET = re.compile(rf"(?:b?[\"'])?{_NAME}s?[\"']?\Z", re.IGNORECASE)
"""Names of fields whose value is a secret, whatever it looks like."""
OPTION_IS_SECRET = re.compile(rf"(?:b?[\"'])?-{{0,2}}{_NAME}s?[\"']?:?\Z", re.IGNORECASE)
"""In a row of words (a command line, a pair), what makes the next word a secret."""

# A name, the sign between (also as a tuple or a JSON string in a string, or percent-encoded), and
# the value. A comma or bracket in the middle of an unquoted value belongs to it.
_PAIR = (
    rf"(?P<name>{_TELLING_NAME})"
    r"(?P<sign>(?:[:=]\\*[\"']\s*,|(?:\\*[\"']|%22)?\s*(?:=>|->|:=|=|:|\u2192|%3d|%3a|\\+u003[da]|(?<=[\"']),))\s*"
    r"(?:(?:[bru]|secret(?:str)?\()?\\*(?P<quote>[\"']))?)"
    r"(?P<value>(?:(?:bearer|basic|token|digest|geniekey|apikey)\s+)?"
    r"(?(quote)(?:(?!(?P=quote))[^\\\r\n]|\\(?!\\{0,20}(?P=quote)).)+"
    r"|(?:[^\s&,;\"'<>\])}\\]|[,;\])}](?=[^\s&,;\"'<>\])}\\]))+))"
)
# What the pattern's text has in it (one of these words), the pattern, what comes in its place.
# Looking for the words is cheap, and most texts have none of them.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (tuple(signs.split()), re.compile(pattern, re.IGNORECASE), replacement)
    for signs, pattern, replacement in (
        ("-----begin",
         r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?"
         r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z))",
         MASKED),
        # Headers that hold several values: to the end of the line, or of the string they stand in.
        ("authorization",
         rf"(?P<keep>{_START}authorization\s*:\s*(?:digest|aws4[\w-]*|signature)\s)[^\r\n]+",
         rf"\g<keep>{MASKED}"),
        ("authorization cookie",
         rf"(?P<keep>{_START}(?:(?:proxy-)?authorization|(?:set-)?cookie)\s*[:=]\s*)"
         r"[^\s\"'\\][^\r\n\"'\\]*",
         rf"\g<keep>{MASKED}"),
        # Addresses: user and password before the host, also with a slash in the password, and
        # percent-encoded or with JSON's \/ .
        ("@",
         r"(?P<keep>(?<=[a-z0-9+.\-]):(?://|\\+/\\+/))"
         r"(?:[^\s/?#\"'<>\\]{1,2000}|[^\s/@:\"'<>]{0,500}:(?!\d+[/?#\\])[^\s@\"'<>]{1,2000})@",
         rf"\g<keep>{MASKED}@"),
        ("%40",
         r"(?P<keep>(?<=[a-z0-9+.\-])%3a%2f%2f)[^\s/?#\"'<>&@]{1,2000}?%40",
         rf"\g<keep>{MASKED}%40"),
        ("key= sig= signature= auth= code= pass= pw= %3d u003d",
         r"(?P<keep>(?:[?&]|%3f|%26|\\u0026)(?:\w*key|sig|signature|auth|code|pass|pw)"
         r"(?:=|%3d|\\+u003d))[^\s&#\"'<>\\]+",
         rf"\g<keep>{MASKED}"),
        ("hooks.slack",
         r"(?P<keep>hooks\.slack(?:-gov)?\.com(?::\d+)?"
         r"\\*(?:/|%2f)(?:services|workflows|triggers)\\*(?:/|%2f))[^\s\"'<>)\]}]+",
         rf"\g<keep>{MASKED}"),
        # Clients log host and path apart: "POST /services/T…/B…/… HTTP/1.1" 404.
        ("services",
         r"(?P<keep>\bservices\\*(?:/|%2f))"
         r"(?-i:T[0-9A-Z]{6,})\\*(?:/|%2f)(?-i:B[0-9A-Z]{6,})\\*(?:/|%2f)[^\s\"'<>)\]}]+",
         rf"\g<keep>{MASKED}"),
        ("webhooks",
         r"(?P<keep>\bapi\\*(?:/|%2f)(?:v\d+\\*(?:/|%2f))?webhooks\\*(?:/|%2f)\d{10,}\\*(?:/|%2f))"
         r"[^\s\"'<>)\]}?]+",
         rf"\g<keep>{MASKED}"),
        ("webhooks",
         r"(?P<keep>discord(?:app)?\.com\\*(?:/|%2f)api\\*(?:/|%2f)(?:v\d+\\*(?:/|%2f))?"
         r"webhooks\\*(?:/|%2f))[^\s\"'<>)\]}?]+",
         rf"\g<keep>{MASKED}"),
        # A stream of one's own account, at Binance.
        ("/ws/", r"(?P<keep>/ws/)(?=\w*\d)\w{60,}", rf"\g<keep>{MASKED}"),
        # Feishu and Lark, Mattermost, n8n, and whoever else calls it so; what is alive at Kuma's.
        ("hook heartbeat/ api/push/",
         r"(?P<keep>\b(?:(?:web)?hooks?|heartbeat|api\\*(?:/|%2f)push)\\*(?:/|%2f))"
         r"(?=[\w\-/]{0,60}\d)[\w\-/]{16,}+",
         rf"\g<keep>{MASKED}"),
        # Of an address that is one long id, a client logs this: "GET /0123…-… HTTP/1.1".
        ("http/1",
         r"(?P<keep>\b(?:get|post|head) /)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
         rf"\g<keep>{MASKED}"),
        ("office.com hooks.zapier ntfy.sh hc-ping healthchecks deadmanssnitch nosnch"
         " events.pagerduty maker.ifttt ftqq.com api.day.app make.com"
         " cronitor.link",
         r"(?P<keep>(?:webhook\.office\.com|office\.com\\*/webhook|hooks\.zapier\.com|ntfy\.sh"
         r"|hc-ping\.com|healthchecks\.io\\*/ping"
         r"|deadmanssnitch\.com|nosnch\.in|events\.pagerduty\.com\\*/integration"
         r"|maker\.ifttt\.com|s(?:ct)?(?:api)?\.ftqq\.com|api\.day\.app|hook(?:\.\w+)?\.make\.com"
         r"|cronitor\.link\\*/p)\\*(?:/|%2f))[^\s\"'<>)\]}]+",
         rf"\g<keep>{MASKED}"),
        ("api.telegram",
         r"(?P<keep>api\.telegram\.org\\*(?:/|%2f)(?:file\\*/)?bot)[^\s/\"'<>\\]+",
         rf"\g<keep>{MASKED}"),
        (":aa", r"(?<!\d)\d{8,10}:AA[\w-]{30,}", MASKED),
        # Headers without their name. Plain words after "bearer" are prose.
        ("bearer",
         r"(?P<keep>\bbearer\s+)"
         r"(?!(?:auth\w*|tokens?|is|was|are|not|required|missing|invalid|expired)\b)[\w.~+/=\-]{4,}",
         rf"\g<keep>{MASKED}"),
        ("basic",
         r"(?P<keep>\bbasic\s+)(?=\S*[0-9A-Z=+/])(?-i:(?=\S*[0-9A-Z=+/]))[\w+/]{8,}={0,2}",
         rf"\g<keep>{MASKED}"),
        ("auth", r"(?P<keep>\bauth (?:plain|login|xoauth2)\s+)[\w+/=]{4,}", rf"\g<keep>{MASKED}"),
        # A list or mapping of secrets, written as text.
        (_WORDS,
         rf"(?P<keep>{_TELLING_NAME}s?(?:\\*[\"'])?\s*[:=,]\s*[\[({{])[^\])}}]+",
         rf"\g<keep>{MASKED}"),
        ("auth",
         r"(?P<keep>\bauth(?:\\*[\"'])?\s*[:=]\s*[\[(])[^\])]+", rf"\g<keep>{MASKED}"),
        ("pass",
         r"(?P<keep>(?<![a-z])pass(?:\\*[\"'])?\s*[=:]\s*\\*[\"']?)"
         r"(?=[^\s\"'\\,;&]*\d)(?=[^\s\"'\\,;&]*[a-z])[^\s\"'\\,;&]{6,}",
         rf"\g<keep>{MASKED}"),
        ("cst", r"(?P<keep>(?-i:\bCST)[\"']?\s*[:=,]\s*[\"']?)[\w\-]{24,}", rf"\g<keep>{MASKED}"),
        # The words of a wallet.
        ("mnemonic phrase",
         r"(?P<keep>\b(?:mnemonic|(?:seed|recovery)[_\- ]?phrase)\W{1,6})"
         r"(?:[a-z]+\s+){11,23}[a-z]+",
         rf"\g<keep>{MASKED}"),
        # An entry that has its name apart: {"name": "api_key", "value": "…"}.
        ("value",
         rf"(?P<keep>[\"'](?:name|key|header)\\*[\"']\s*:\s*\\*[\"']{_TELLING_NAME_FROM_HERE}\\*[\"']\s*,\s*"
         r"\\*[\"']value\\*[\"']\s*:\s*\\*[\"'])[^\"'\\]+",
         rf"\g<keep>{MASKED}"),
        # Command lines: --api-key 0123…, and keys in prose: "routing key 0123…".
        (_WORDS,
         rf"(?P<keep>(?<![\w-])--?{_TELLING_NAME_FROM_HERE}\s+[\"']?)(?![-\s])[^\s\"'<>\\]+",
         rf"\g<keep>{MASKED}"),
        ("curl",
         r"(?P<keep>\bcurl\b[^\r\n]{0,300}?\s(?:-u|--user)[\s=]*[\"']?[^\s:\"'=]+:)[^\s\"'<>]+",
         rf"\g<keep>{MASKED}"),
        (_WORDS, rf"(?P<keep><(?:\w+:)?{_TELLING_NAME_FROM_HERE}>)[^<]+", rf"\g<keep>{MASKED}"),
        # "password is x1…", "token x1… expired": what looks like none of the words around it.
        ("token secret passw passphrase",
         r"(?P<keep>\b(?:password|passwd|passphrase|token|secret)(?: is| was)? [\"']?)"
         r"(?=[\w\-]*\d)(?=[\w\-]*[a-z])[\w\-]{12,}+(?!=)",
         rf"\g<keep>{MASKED}"),
        ("key",
         r"(?P<keep>\b(?:routing|integration|pagerduty|api)[ _\-]key(?: is| was)?\W{1,4})"
         r"(?=[\w\-]*\d)[\w\-]{12,}",
         rf"\g<keep>{MASKED}"),
        # Tokens that say who made them: JWT, Slack, GitHub, GitLab, Grafana, Stripe, Google, AWS, …
        ("eyj", r"\beyJ[\w\-]{6,1000}+\.[\w\-]{4,}(?:\.[\w\-]*)?", MASKED),
        ("xox xapp-", r"\bxox[a-z]-[\w\-]{6,}|\bxapp-[\w\-]{6,}", MASKED),
        ("ghp_ gho_ ghu_ ghs_ ghr_ github_pat glpat- glsa_ glc_ sk- k_live npm_ hf_ dop_v1"
         " whsec_ shpat_ pypi-",
         r"\b(?:gh[pousr]_|github_pat_|glpat-|glsa_|glc_|sk-|[srp]k_live_|npm_|hf_|dop_v1_"
         r"|whsec_|shpat_|pypi-)"
         r"\w[\w\-]{12,}",
         MASKED),
        ("aiza sg.", r"(?-i:\bAIza[\w\-]{30,}|\bSG\.[\w\-]{16,}\.[\w\-]{16,})", MASKED),
        ("akia asia", r"(?-i:\bA(?:KIA|SIA)[0-9A-Z]{12,})", MASKED),
        (_WORDS, _PAIR, rf"\g<name>\g<sign>{MASKED}"),
    )
)  # fmt: skip
_SIGNS = tuple({sign: None for signs, _, _ in _SHAPES for sign in signs})
# re.IGNORECASE takes these for letters that lower() does not make of them: long s, the Kelvin sign,
# i without and with its dot.
_ALSO = {"\u017f": "s", "\u212a": "k", "\u0131": "i", "\u0130": "i"}
_AS_PLAIN = str.maketrans(_ALSO)
# All of them are looked for in one go: every line comes here.
_SIGNS_IN_BYTES = BytesAhoCorasick([sign.encode() for sign in (*_SIGNS, *_ALSO)])
_SIGNS_IN_TEXT = AhoCorasick(_SIGNS)


def may_hold(lowered: bytes) -> bool:
    """Whether a line in lower case may hold one of the shapes: quick, and never wrongly False."""
    return bool(_SIGNS_IN_BYTES.find_matches_as_indexes(lowered))


def masked(text: str) -> str:
    """`text` with the value of every shape replaced."""
    lowered = text.lower() if text.isascii() else _utf8(text.translate(_AS_PLAIN).lower())
    met = set(_SIGNS_IN_TEXT.find_matches_as_strings(lowered, overlapping=True))
    if not met:
        return text
    for signs, pattern, replacement in _SHAPES:
        if not met.isdisjoint(signs):
            text = pattern.sub(replacement, text)
    return text


def _utf8(text: str) -> str:
    """`text` as the search takes it: a file's name that is no UTF-8 brings lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
