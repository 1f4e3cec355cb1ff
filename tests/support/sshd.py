"""OpenSSH's own server on loopback, for sftp."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.s3 import free_port, wait_for_port

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
StrictModes no
UsePAM no
PidFile none
LogLevel ERROR
Subsystem sftp internal-sftp
"""


class SSHServer:
    """sshd that lets this user in with a key made for it; skips the test where there is none.

    Args:
        place: an empty directory for keys and configuration.
    """

    def __init__(self, place: Path) -> None:
        program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None or os.geteuid() != 0:
            pytest.skip("needs root and sshd (openssh-server)")
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True
            )
        os.makedirs("/run/sshd", exist_ok=True)  # sshd insists
        self._key = str(place / "user")
        self.port = free_port()
        config = place / "config"
        config.write_text(_CONFIG.format(port=self.port, place=place))
        self._process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL)
        wait_for_port(self.port, self._process)

    def url(self, path: Path) -> str:
        return f"sftp://root@127.0.0.1:{self.port}{path}"

    def options(self) -> dict[str, Any]:
        """storage_options for sshfs."""
        return {"client_keys": [self._key], "known_hosts": None}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
