"""Packages named loki and alloy, for Debian has neither, laid out as their makers' own.

The same files, users, unit names and commands. Loki's starts as soon as it is installed, on all
addresses unless it is told otherwise; Alloy's does not. The programs take what they need from the
settings: where to listen and to keep, which files to follow and where to send; the journal is read
with the rights of the service.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_LOKI_UNIT = """\
[Unit]
Description=Loki service
After=network-online.target
Wants=network-online.target
[Service]
Type=simple
User=loki
ExecStart=/usr/bin/loki -config.file /etc/loki/config.yml
TimeoutSec = 120
Restart = on-failure
RestartSec = 2
[Install]
WantedBy=multi-user.target
"""
_LOKI_POSTINST = """\
#!/bin/sh
[ "$1" = configure ] && [ -z "$2" ] || exit 0
id loki >/dev/null 2>&1 || adduser --system --shell /bin/false loki
systemctl daemon-reload
systemctl unmask loki
systemctl preset loki
systemctl enable loki
systemctl restart loki ||:
"""
_LOKI = r"""#!/usr/bin/python3
import http.server, json, pathlib, re, sys
flags = dict(f.lstrip("-").split("=", 1) for f in sys.argv[1:] if "=" in f)
config = pathlib.Path(flags["config.file"]).read_text()
kept = pathlib.Path(re.search(r"path_prefix: (\S+)", config)[1], "streams.jsonl")
port = int(re.search(r"http_listen_port: (\d+)", config)[1])

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def do_GET(self):
        streams = kept.read_text().splitlines() if kept.exists() else []
        self.answer(json.dumps([json.loads(one) for one in streams]))
    def do_POST(self):
        assert self.path == "/loki/api/v1/push"
        pushed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with kept.open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in pushed["streams"])
        self.answer("")
    def log_message(self, *_):
        pass
address = flags.get("server.http-listen-address", "0.0.0.0")
http.server.ThreadingHTTPServer((address, port), Handler).serve_forever()
"""

_ALLOY_UNIT = """\
[Unit]
Description= Vendor-agnostic OpenTelemetry Collector distribution with programmable pipelines
Wants=network-online.target
After=network-online.target
[Service]
Restart=always
User=alloy
Environment=HOSTNAME=%H
Environment=ALLOY_DEPLOY_MODE=deb
EnvironmentFile=/etc/default/alloy
WorkingDirectory=/var/lib/alloy
ExecStart=/usr/bin/alloy run $CUSTOM_ARGS --storage.path=/var/lib/alloy/data $CONFIG_FILE
ExecReload=/usr/bin/env kill -HUP $MAINPID
TimeoutStopSec=20s
[Install]
WantedBy=multi-user.target
"""
_ALLOY_POSTINST = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
getent group alloy >/dev/null || groupadd -r alloy
getent passwd alloy >/dev/null || useradd -m -r -g alloy -d /var/lib/alloy -s /sbin/nologin alloy
usermod -a -G adm alloy
usermod -a -G systemd-journal alloy
mkdir -p /var/lib/alloy/data
chown alloy:alloy /var/lib/alloy /var/lib/alloy/data
chmod 770 /var/lib/alloy /var/lib/alloy/data
chown root:alloy /etc/alloy
chmod 770 /etc/alloy
"""
_ALLOY_PRERM = """\
#!/bin/sh
[ "$1" != remove ] || systemctl stop alloy.service >/dev/null 2>&1 ||:
"""
_ALLOY = r"""#!/usr/bin/python3
import http.server, json, pathlib, re, subprocess, sys, threading, time, urllib.request
flags = dict(f.lstrip("-").split("=", 1) for f in sys.argv[2:-1] if "=" in f)
config = "".join(f.read_text() for f in sorted(pathlib.Path(sys.argv[-1]).glob("*.alloy")))
[url] = re.findall(r'url = "(.+)"', config)
[pattern] = re.findall(r'"__path__" = "(.+)"', config)
[dropped] = re.findall(r'regex +="? +"(.+)"\n +action +="? +"drop"', config)
(pathlib.Path(flags["storage.path"]) / "positions").touch()

def push(labels, line, metadata):
    values = [[str(time.time_ns()), line, metadata]]
    body = json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()
    while True:
        try:
            return urllib.request.urlopen(urllib.request.Request(url, body), timeout=5).close()
        except OSError:
            time.sleep(0.5)

def files():
    read = {}
    while True:
        for path in pathlib.Path(pattern).parent.glob(pathlib.Path(pattern).name):
            with path.open() as file:
                file.seek(read.get(path, 0))
                for line in iter(file.readline, ""):
                    fields = json.loads(line)
                    labels = {"job": "quant-exporter", "level": fields["level"]}
                    metadata = {"run_id": fields["run_id"]} if "run_id" in fields else {}
                    push(labels, line, metadata)
                read[path] = file.tell()
        time.sleep(0.3)

def journal():
    # A guest of nspawn has a boot id of its own, which a sandbox in it does not see.
    # --merge: a guest of nspawn has a boot id of its own, which a sandbox in it does not see.
    follow = ["journalctl", "--follow", "--merge", "--lines=0", "--output=json"]
    for line in subprocess.Popen(follow, stdout=subprocess.PIPE).stdout:
        entry = json.loads(line)
        unit = entry.get("_SYSTEMD_UNIT", "")
        if not re.fullmatch(dropped.replace("\\\\", "\\"), unit):
            push({"job": "journal", "unit": unit}, str(entry["MESSAGE"]), {})

for loop in (files, journal):
    threading.Thread(target=loop).start()
host, port = flags["server.http.listen-addr"].split(":")
http.server.HTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def packages(folder: Path) -> tuple[Path, Path]:
    """The two .deb files, made in a folder."""
    loki = {
        "DEBIAN/postinst": _LOKI_POSTINST,
        "DEBIAN/conffiles": "/etc/loki/config.yml\n",
        "etc/systemd/system/loki.service": _LOKI_UNIT,
        "etc/loki/config.yml": "server:\n  http_listen_port: 3100\n"
        "common:\n  path_prefix: /tmp/loki\n",
        "usr/bin/loki": _LOKI,
    }
    alloy = {
        "DEBIAN/postinst": _ALLOY_POSTINST,
        "DEBIAN/prerm": _ALLOY_PRERM,
        "DEBIAN/conffiles": "/etc/default/alloy\n/etc/alloy/config.alloy\n",
        "usr/lib/systemd/system/alloy.service": _ALLOY_UNIT,
        "etc/default/alloy": 'CONFIG_FILE="/etc/alloy/config.alloy"\nCUSTOM_ARGS=""\n'
        "RESTART_ON_UPGRADE=true\n",
        "etc/alloy/config.alloy": "// A sample.\n",
        "usr/bin/alloy": _ALLOY,
    }
    return _built(folder, "loki", loki), _built(folder, "alloy", alloy)


def _built(folder: Path, name: str, files: dict[str, str]) -> Path:
    made = folder / f"build-{name}"
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: all\nDepends: adduser\n"
        f"Maintainer: nobody <nobody@localhost>\nDescription: stands in for {name}\n"
    )
    for path, text in {"DEBIAN/control": control, **files}.items():
        file = made / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    deb = folder / f"{name}_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", made, deb],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return deb
