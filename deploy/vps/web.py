"""nginx in front of status page and Grafana: TLS, one login, nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

from desired import Enabled, File, Folder, Gone, Step, Thing, bring_about, guarded, tried_again
from packages import Packages
from places import CREDENTIALS, ETC, SYSTEMD, TOOL, ProblemError
from settings import Settings
from shell import attempt, run, say, tail

_TLS = ETC / "tls"


_METRICS_LOGIN = ETC / "metrics-login"
_METRICS_TOKEN = ETC / "metrics-token"
_PASSWORD, _TOKEN = "metrics_password", "metrics_token"
_LOGIN_LETS_IN = "        auth_basic_user_file /etc/quant-exporter/metrics-login;\n"
_TOKEN_LETS_IN = '        auth_basic off;\n        if ($quant_may_read = "") { return 401; }\n'  # noqa: S105  of nginx
_GRAFANA = "    location /grafana/ { proxy_pass http://127.0.0.1:3000; }\n"
_CLOSED = """\
    # For this machine alone.
    location = /metrics { return 404; }
"""


def web_things(wanted: Settings, *, with_grafana: bool) -> list[Thing]:
    """Certificate, login, and the site in front of status page and Grafana."""
    asks = _asked_of_scrapes(wanted)
    reload = ["systemctl reload-or-restart nginx.service"]
    certificate, key = _TLS / "fullchain.pem", _TLS / "privkey.pem"
    enabled, shipped = (
        Path("/etc/nginx/sites-enabled/quant"),
        Path("/etc/nginx/sites-enabled/default"),
    )

    def sign_ourselves() -> None:
        old_mask = os.umask(0o077)
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "3650", "-subj", "/CN=quant-exporter", "-keyout", key,
            "-out", certificate,
        )  # fmt: skip
        os.umask(old_mask)

    def enable() -> None:
        if shipped.is_symlink():  # Debian's page that says that nginx works
            shipped.unlink()
        enabled.symlink_to("../sites-available/quant")
        tried = attempt("nginx", "-t", "-q")
        if tried.returncode:
            enabled.unlink()
            raise ProblemError(
                "nginx refuses our site beside the ones in /etc/nginx/sites-enabled; it is not "
                f"enabled:\n{tail(tried)}"
            )
        run("systemctl", "reload-or-restart", "nginx.service")

    return [
        Folder(_TLS, mode=0o700),
        Folder(Path("/var/www/quant-acme")),
        Step(
            lambda: None if certificate.exists() else "make a certificate signed by itself",
            sign_ourselves,
        ),
        # Empty at first: nobody gets in until `password` was run.
        Step(
            lambda: None if (ETC / "login").exists() else f"write {ETC / 'login'}, with nobody",
            lambda: guarded(ETC / "login", "", "www-data"),
        ),
        _metrics_login(wanted.metrics_user or "") if asks == _PASSWORD else Gone(_METRICS_LOGIN),
        *([_metrics_token()] if asks == _TOKEN else []),
        File(
            Path("/etc/nginx/sites-available/quant"),
            _site(asks, with_grafana=with_grafana),
            then=reload,
        ),
        *([] if asks == _TOKEN else [Gone(_METRICS_TOKEN)]),
        File(
            SYSTEMD / "nginx.service.d/quant.conf",
            tried_again(),
            then=["systemctl daemon-reload"],
        ),
        Step(lambda: None if enabled.is_symlink() else "let nginx serve the site", enable),
        Enabled("nginx.service"),
    ]


def _site(asks: str | None, *, with_grafana: bool) -> str:
    files = TOOL / "files"
    site = (files / "nginx-site.conf").read_text()
    if not with_grafana:
        site = site.replace(_GRAFANA, "    location /grafana/ { return 404; }\n")
    if not asks:
        return site
    outside = (files / "nginx-outside.conf").read_text()
    if asks == _TOKEN:
        site = f"include {_METRICS_TOKEN};\n{site}"
        outside = outside.replace(_LOGIN_LETS_IN, _TOKEN_LETS_IN)
    return site.replace(_CLOSED, outside)


def _asked_of_scrapes(wanted: Settings) -> str | None:
    """The secret that opens /metrics from outside; None while nothing does."""
    asks = _PASSWORD if wanted.metrics_user else _TOKEN if wanted.metrics_token else None
    if asks and not (CREDENTIALS / asks).is_file():
        say(
            f"/metrics stays closed: the secret {asks} is missing. Store it (make secret HOST=… "
            f"NAME={asks}), then provision again"
        )
        return None
    return asks


def _metrics_token() -> Step:
    """A token as nginx compares it; of letters that mean nothing else to nginx."""
    token = (CREDENTIALS / _TOKEN).read_text()
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,200}", token):
        raise ProblemError(
            f"{_TOKEN}: expected 16 to 200 letters, digits and ._~+/=-; make one with `openssl "
            "rand -hex 32`, store it again (make secret), then provision again"
        )
    pattern = f'"~^Bearer {re.escape(token)}$"'
    text = f'map $http_authorization $quant_may_read {{ default ""; {pattern} 1; }}\n'

    def write() -> None:
        guarded(_METRICS_TOKEN, text, "www-data")
        run("systemctl", "reload-or-restart", "nginx.service")

    def wrong() -> str | None:
        there = _METRICS_TOKEN.read_text() if _METRICS_TOKEN.exists() else ""
        return None if there == text else f"write {_METRICS_TOKEN}"

    return Step(wrong, write)


def _metrics_login(user: str) -> Step:
    password = (CREDENTIALS / _PASSWORD).read_text()

    def login(*salt: str) -> str:
        return f"{user}:{run('openssl', 'passwd', '-6', *salt, '-stdin', stdin=password).strip()}\n"

    def wrong() -> str | None:
        there = _METRICS_LOGIN.read_text() if _METRICS_LOGIN.exists() else ""
        salt = there.split("$")[2:3]
        if salt and there == login("-salt", *salt):
            return None
        return f"write {_METRICS_LOGIN}, with {user}"

    return Step(wrong, lambda: guarded(_METRICS_LOGIN, login(), "www-data"))


def set_login(name: str, password: str) -> None:
    """The one login of the web pages; the password is hashed by openssl, given on its stdin."""
    if not password.strip():
        raise ProblemError("the password is empty; nothing was changed")
    hashed = run("openssl", "passwd", "-6", "-stdin", stdin=password).strip()
    guarded(ETC / "login", f"{name}:{hashed}\n", "www-data")
    say(f"{name} may log in")


def use_domain(domain: str, email: str) -> None:
    """A certificate by Let's Encrypt; certbot's timer renews it from then on."""
    bring_about([Packages(["certbot"])], dry_run=False)
    run(
        "certbot", "certonly", "--webroot", "-w", "/var/www/quant-acme", "-d", domain,
        "-m", email, "--agree-tos", "--non-interactive", "--keep-until-expiring",
        "--deploy-hook", "systemctl reload nginx",
    )  # fmt: skip
    for name in ("fullchain.pem", "privkey.pem"):
        link = _TLS / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"/etc/letsencrypt/live/{domain}/{name}")
    run("systemctl", "reload-or-restart", "nginx.service")
    say(f"https://{domain}/ has its certificate")
