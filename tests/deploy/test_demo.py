"""`duragen demo` for those who script it: its exit code says whether there is an image."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("prompt", "word"), [("sandbox:unauthorized", "failed"), ("something forbidden", "refused")]
)
def test_without_an_image(tmp_path: Path, prompt: str, word: str) -> None:
    """Exit 1; our failure is called a failure, and a refused prompt refused."""
    command = [sys.executable, "-c", "from starter.cli import main; main()", "demo", "--openai"]
    done = subprocess.run(
        [*command, "--prompt", prompt, "--home", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert word in lines
    assert not {"failed", "refused"} - {word} & lines
