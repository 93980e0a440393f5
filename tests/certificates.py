"""Certificates that vouch for themselves, for servers of tests that speak TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str) -> Path:
    """A certificate of this name and its key, in one file, which a client may trust too."""
    key, found, file = folder / f"{name}.key", folder / f"{name}.cert", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(found)], check=True, capture_output=True)
    file.write_text(key.read_text() + found.read_text())
    return file
