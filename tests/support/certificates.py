"""Certificates for TLS, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(place: Path, *words: str) -> None:
    """Run it in `place`."""
    subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)


def make_certificates(place: Path) -> None:
    """NAME.pem and NAME.key: "server" and "client" by authority "ca", "outsider" by "stranger"."""

    def make(name: str, *options: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        out = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2"]
        openssl(place, "req", "-x509", *key, *out, *options)

    def by(name: str) -> tuple[str, ...]:
        return "-CA", f"{name}.pem", "-CAkey", f"{name}.key"

    make("ca")
    make("stranger")
    make("server", *by("ca"), "-addext", "subjectAltName=DNS:daemon.test,IP:127.0.0.1")
    make("client", *by("ca"))
    make("outsider", *by("stranger"))
