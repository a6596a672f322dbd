"""A package named grafana, for Debian has none, laid out as its makers' own.

The same files, owners, modes, conffiles, unit name and defaults; like theirs it neither enables nor
starts its unit, makes ``grafana.ini`` and the folders in ``/etc/grafana`` when it is installed, and
gives all of them to root and its group. Its server takes settings as Grafana does (``cfg:default``,
the file, ``GF_…``, ``$__file{…}``), reads what is provisioned, and asks its API for a login.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

_UNIT = """\
[Unit]
Description=Grafana instance
Wants=network-online.target
After=network-online.target
[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
RuntimeDirectory=grafana
RuntimeDirectoryMode=0750
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} \
--pidfile=${PID_FILE_DIR}/grafana-server.pid --packaging=deb \
cfg:default.paths.logs=${LOG_DIR} cfg:default.paths.data=${DATA_DIR} \
cfg:default.paths.plugins=${PLUGINS_DIR} cfg:default.paths.provisioning=${PROVISIONING_CFG_DIR}
LimitNOFILE=10000
TimeoutStopSec=20
CapabilityBoundingSet=
NoNewPrivileges=true
PrivateDevices=true
PrivateTmp=true
ProtectHome=true
ProtectProc=invisible
ProtectSystem=full
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
UMask=0027
[Install]
WantedBy=multi-user.target
"""

_DEFAULTS = """\
GRAFANA_USER=grafana
GRAFANA_GROUP=grafana
LOG_DIR=/var/log/grafana
DATA_DIR=/var/lib/grafana
CONF_FILE=/etc/grafana/grafana.ini
PLUGINS_DIR=/var/lib/grafana/plugins
PROVISIONING_CFG_DIR=/etc/grafana/provisioning
PID_FILE_DIR=/run/grafana
"""

_SERVER = r"""#!/usr/bin/python3
import base64, configparser, http.server, json, os, pathlib, re, sys
options = dict(a.lstrip("-").split("=", 1) for a in sys.argv[2:] if "=" in a)
ini = configparser.ConfigParser()
ini.read_string("[x]\n" + pathlib.Path(options["config"]).read_text())
pathlib.Path(options["pidfile"]).write_text(str(os.getpid()))

def setting(section, key, default=""):
    value = options.get(f"cfg:default.{section}.{key}", default)
    value = ini.get(section, key, fallback=value)
    value = os.environ.get(f"GF_{section}_{key}".upper(), value)
    return re.sub(r"\$__file\{(.+?)\}", lambda m: pathlib.Path(m[1]).read_text().strip(), value)

def provisioned(kind):
    for file in sorted(pathlib.Path(setting("paths", "provisioning"), kind).iterdir()):
        if file.suffix in (".yml", ".yaml"):
            yield re.sub(r"\$(\w+)", lambda m: os.environ.get(m[1], ""), file.read_text())

boards = [pathlib.Path(path) for text in provisioned("dashboards")
          for path in re.findall(r"(?m)^ +path: (\S+)", text)]
sources = [found for text in provisioned("datasources")
           for found in re.findall(r"(?s)\n +- name: (\S+).*?\n +url: (\S*)", text)]
assert pathlib.Path(setting("dashboards", "default_home_dashboard_path")).is_file()
data = pathlib.Path(setting("paths", "data"))
(data / "grafana.db").touch()
basic = "Basic " + base64.b64encode(
    f"admin:{setting('security', 'admin_password', 'admin')}".encode()).decode()
ways = {basic: "password", "Bearer glsa_test_4711": "token"}

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, said):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(said.encode())
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        login = ways.get(self.headers["Authorization"])
        with open(data / "asked.jsonl", "a") as file:
            file.write(json.dumps({"path": self.path, "login": login, "body": body}) + "\n")
        self.answer(200 if login else 401, "")
    def do_GET(self):
        if self.path == "/grafana/boards":
            return self.answer(200, json.dumps(sorted(f.name for p in boards for f in p.iterdir())))
        if self.path == "/grafana/sources":
            return self.answer(200, json.dumps(sources))
        login = self.headers["Authorization"] or None
        self.answer(200, f"Grafana saw {self.path} and the login {login}")
    def log_message(self, *_):
        pass
address = setting("server", "http_addr"), int(setting("server", "http_port", "3000"))
http.server.HTTPServer(address, Handler).serve_forever()
"""

_POSTINST = """\
#!/bin/sh
set -e
. /etc/default/grafana-server
[ "$1" = configure ] || exit 0
getent group grafana >/dev/null || addgroup --system grafana --quiet
id grafana >/dev/null 2>&1 || adduser --system --home /usr/share/grafana --no-create-home \
  --ingroup grafana --disabled-password --shell /bin/false --quiet grafana
mkdir -p /var/log/grafana /var/lib/grafana
chown -R grafana:grafana /var/log/grafana /var/lib/grafana
chmod 755 /var/log/grafana /var/lib/grafana
[ -f $CONF_FILE ] || cp /usr/share/grafana/conf/sample.ini $CONF_FILE
for kind in datasources dashboards; do
  [ -d $PROVISIONING_CFG_DIR/$kind ] || {
    mkdir -p $PROVISIONING_CFG_DIR/$kind
    cp /usr/share/grafana/conf/provisioning/$kind/sample.yaml $PROVISIONING_CFG_DIR/$kind/
  }
done
chown -Rh root:grafana /etc/grafana/*
chmod 755 /etc/grafana
find /etc/grafana -type f -exec chmod 640 {} ';'
find /etc/grafana -type d -exec chmod 755 {} ';'
[ -n "$2" ] || echo "### NOT starting on installation"
[ -z "$2" ] || { systemctl daemon-reload; systemctl restart grafana-server || true; }
"""


def package(folder: Path, version: str = "1") -> Path:
    """The .deb, made in a folder."""
    made = folder / f"build-{version}"
    samples = "usr/share/grafana/conf/provisioning"
    files = {
        "DEBIAN/control": f"Package: grafana\nVersion: {version}\nArchitecture: all\n"
        "Depends: adduser\nMaintainer: nobody <nobody@localhost>\n"
        "Description: stands in for Grafana\n",
        "DEBIAN/conffiles": "/etc/default/grafana-server\n"
        "/usr/lib/systemd/system/grafana-server.service\n",
        "DEBIAN/postinst": _POSTINST,
        "etc/default/grafana-server": _DEFAULTS,
        "usr/lib/systemd/system/grafana-server.service": _UNIT,
        "usr/share/grafana/bin/grafana": _SERVER,
        "usr/share/grafana/conf/sample.ini": "# everything is commented out\n;http_port = 3000\n",
        f"{samples}/datasources/sample.yaml": "# commented out\napiVersion: 1\n",
        f"{samples}/dashboards/sample.yaml": "# commented out\napiVersion: 1\n",
    }
    for name, text in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    (made / "etc/grafana").mkdir(exist_ok=True)
    for name in ("DEBIAN/postinst", "usr/share/grafana/bin/grafana"):
        (made / name).chmod(0o755)
    deb = folder / f"grafana_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", made, deb],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return deb


def _listed(deb: Path, place: str) -> str:
    """What the index of a source says about it."""
    content = deb.read_bytes()
    control = subprocess.run(
        ["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True
    ).stdout
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: {place}\nSize: {len(content)}\nSHA256: {digest}\n"


def add_source(root: Path) -> None:
    """Configure a source on the machine whose disk is `root`, as somebody had done it by hand; apt
    has not asked it yet."""
    source = root / "srv/grafana"
    source.mkdir()
    deb = package(source)
    (source / "Packages").write_text(_listed(deb, f"./{deb.name}"))
    listed = root / "etc/apt/sources.list.d/grafana.list"
    listed.write_text("deb [trusted=yes] file:/srv/grafana ./\n")


def signed_source(root: Path, folder: Path) -> str:
    """One that is signed, like Grafana's, below /srv/signed of the machine with this disk; the
    fingerprint of its key, which is the second in its file of keys."""
    source = root / "srv/signed"
    index = source / "dists/stable/main/binary-all"
    index.mkdir(parents=True)
    deb = package(source, "2")
    (index / "Packages").write_text(_listed(deb, deb.name))
    content = (index / "Packages").read_bytes()
    release = source / "dists/stable/Release"
    release.write_text(
        "Origin: test\nSuite: stable\nCodename: stable\nArchitectures: all amd64 arm64\n"
        "Components: main\nDate: Mon, 30 Nov 2026 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-all/Packages\n"
    )
    home = folder / "gpg"
    home.mkdir(mode=0o700)

    def gpg(*words: str | Path) -> str:
        return subprocess.run(
            ["gpg", "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase",
             "", *words],
            env={**os.environ, "GNUPGHOME": str(home)}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    for name in ("old", "new"):
        gpg("--quick-generate-key", name, "rsa3072", "sign", "never")
    gpg("--local-user", "new", "--clear-sign", "--output", release.with_name("InRelease"), release)
    (source / "gpg.key").write_text(gpg("--armor", "--export"))
    told = gpg("--with-colons", "--list-keys", "new").splitlines()
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    return next(line.split(":")[9] for line in told if line.startswith("fpr"))
