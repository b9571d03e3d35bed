"""What runs from `start()` until `stop()`, also as a context manager."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Running(ABC):
    """`with` starts it, and stops it at the block's end."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Returns when it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Returns when it is gone; harmless when it does not run."""
