"""Files and folders of the stack: its owner alone reads them, whatever the process' umask is."""

import os
from pathlib import Path
from typing import TextIO


def private_folder(path: Path) -> Path:
    """`path`, made if it is not there, and closed to everybody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Root may not run PostgreSQL (`--real-odoo`): its user must be able to pass, not to look.
    path.chmod(path.stat().st_mode & (0o711 if os.geteuid() == 0 else 0o700))
    return path


def write_private(file: Path, text: str) -> None:
    """Writes a file in one step."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    fresh.replace(file)


def open_private(file: Path) -> TextIO:
    """A file to read and to add to, made if it is not there."""
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
