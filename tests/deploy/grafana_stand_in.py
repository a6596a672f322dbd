"""A package source with a package named grafana, for Debian has none.

It has what Grafana's own package brings that matters here: the user, ``/etc/grafana``, a unit of
that name which is neither enabled nor started, and a server that takes its settings from ``GF_…``,
reads ``$__file{…}`` in them, lists the dashboards that it is given, and asks its API for a login.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

_UNIT = """\
[Unit]
Description=Grafana
[Service]
User=grafana
Group=grafana
StateDirectory=grafana
ExecStart=/usr/bin/python3 /usr/share/grafana/server.py
[Install]
WantedBy=multi-user.target
"""

_SERVER = r"""
import base64, http.server, json, os, pathlib, re
pathlib.Path("/proc/self/comm").write_text("grafana")  # as the real one is called
provisioning = pathlib.Path(os.environ["GF_PATHS_PROVISIONING"])
provider = (provisioning / "dashboards/quant.yml").read_text()
boards = pathlib.Path(re.search(r"path: (\S+)", provider)[1])
password = re.sub(r"\$__file\{(.+?)\}", lambda m: pathlib.Path(m[1]).read_text().strip(),
                  os.environ["GF_SECURITY_ADMIN_PASSWORD"])
basic = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
ways = {basic: "password", "Bearer glsa_test_4711": "token"}

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, said):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(said.encode())
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        login = ways.get(self.headers["Authorization"])
        with open("/var/lib/grafana/asked.jsonl", "a") as file:
            file.write(json.dumps({"path": self.path, "login": login, "body": body}) + "\n")
        self.answer(200 if login else 401, "")
    def do_GET(self):
        if self.path == "/grafana/boards":
            return self.answer(200, json.dumps(sorted(f.name for f in boards.iterdir())))
        login = self.headers["Authorization"] or None
        self.answer(200, f"Grafana saw {self.path} and the login {login}")
    def log_message(self, *_):
        pass
http.server.HTTPServer((os.environ["GF_SERVER_HTTP_ADDR"], 3000), Handler).serve_forever()
"""

_POSTINST = """\
#!/bin/sh
set -e
getent passwd grafana >/dev/null || useradd --system --user-group --no-create-home grafana
systemctl daemon-reload
"""


def add_source(root: Path) -> None:
    """Configure the source on the machine whose disk is `root`; apt has not asked it yet."""
    made = root / "srv/grafana-build"
    files = {
        "DEBIAN/control": "Package: grafana\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: stands in for Grafana\n",
        "DEBIAN/postinst": _POSTINST,
        "etc/grafana/README": "",
        "lib/systemd/system/grafana-server.service": _UNIT,
        "usr/share/grafana/server.py": _SERVER,
    }
    for name, text in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    (made / "DEBIAN/postinst").chmod(0o755)
    source = root / "srv/grafana"
    source.mkdir()
    package = source / "grafana.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", made, package],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    content = package.read_bytes()
    (source / "Packages").write_text(
        f"{files['DEBIAN/control']}Filename: ./grafana.deb\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    listed = root / "etc/apt/sources.list.d/grafana.list"
    listed.write_text("deb [trusted=yes] file:/srv/grafana ./\n")
