"""What docs/api.md has to paste: programs, and the commands of a shell; and how they are run."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local.stack.layout import environment_of_part
from deploy.local.stack.ports import STANDARD_PORTS
from tests.developers.world import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r'(?:"""|// )([\w.]+)')
_EXPORT = re.compile(r"export (\w+)=…")

NextLine = Callable[[], Awaitable[str]]


def programs() -> dict[str, str]:
    """By the name that each begins with."""
    found = [text for language, text in _BLOCK.findall(PAGE) if language in {"python", "js"}]
    return {name[1] if (name := _NAME.match(text)) else text: text for text in found}


def saved(name: str, folder: Path) -> str:
    """The program's file, as somebody has pasted it."""
    file = folder / name
    file.write_text(programs()[name])
    return str(file)


def ways_in() -> list[str]:
    """The commands of the README's table that run on this stack as they stand, but for keys."""
    table = (ROOT / "README.md").read_text().partition("## The ways in")[2].partition("\n## ")[0]
    commands: list[str] = re.findall(
        r"\| `(curl [^`]*/v1/generate [^`]*|[^`]*duragen submit [^`]*)` \|", table
    )
    return commands


class Shell:
    """A shell of somebody who pastes the commands of the page, one block after the other."""

    def __init__(self, folder: Path, api_url: str, known: Mapping[str, str], receiver: int) -> None:
        self.known = {"API": api_url, **known}
        self._folder = folder
        self._receiver = receiver
        # A refusal fails the command, which curl by itself would not do.
        (folder / ".curlrc").write_text("fail-with-body\n")

    async def pastes_all(self) -> list[dict[str, Any]]:
        """What each block with a command was answered."""
        blocks = [text for language, text in _BLOCK.findall(PAGE) if language == "sh"]
        return [answer for text in blocks if (answer := await self._pastes(text))]

    async def _pastes(self, block: str) -> dict[str, Any] | None:
        wanted = f"127.0.0.1:{STANDARD_PORTS.receiver}"
        text = block.replace(wanted, f"127.0.0.1:{self._receiver}")
        text = _EXPORT.sub(lambda found: f"export {found[1]}='{self.known[found[1]]}'", text)
        # The address of `duragen up`, where the stack of a test has another one.
        text = re.sub(r"export API=.*", f"export API={self.known['API']}", text)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", text),
            env=environment_of_part({**self.known, "CURL_HOME": str(self._folder)}),
            cwd=self._folder,
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{block}\n{out.decode()}\n{err.decode()}"
        if "curl" not in block:
            return None
        answer: dict[str, Any] = json.loads(out)
        self._learns(answer)
        return answer

    def _learns(self, answer: dict[str, Any]) -> None:
        """What the page says to put in the place of `…`."""
        if "secret" in answer:
            self.known |= {"WEBHOOK": answer["id"], "SECRET": answer["secret"]}
        if "jobId" in answer:
            self.known.setdefault("JOB", answer["jobId"])
        for delivery in answer.get("deliveries", ())[:1]:
            self.known["DELIVERY"] = delivery["id"]


async def run(*command: str, folder: Path, **environment: str) -> tuple[int | None, str]:
    """A program's exit code, and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment_of_part(environment), stdout=PIPE, stderr=STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode().strip()


@asynccontextmanager
async def running(*command: str, folder: Path, **environment: str) -> AsyncIterator[NextLine]:
    """A program until the block ends; the function waits for the next line that it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment_of_part(environment), stdout=PIPE, stderr=STDOUT
    )

    async def next_line() -> str:
        assert process.stdout
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await process.stdout.readline()
        assert line, f"it has ended, with {await process.wait()}"
        return line.decode().strip()

    try:
        yield next_line
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
