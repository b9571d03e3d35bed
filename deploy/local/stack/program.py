"""One supervised process in a folder, with ports of its own."""

from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.running import Running
from deploy.local.stack.supervisor import Supervisor


class Program(Running):
    """Runs from `start()` (or `with`) until `stop()`; its ports are its own until then.

    Who inherits sets both attributes.
    """

    ports: PortRegistry
    supervisor: Supervisor

    def start(self) -> None:
        """Returns when it is ready. Raises PartFailedError, with what it says."""
        try:
            self.supervisor.start()
            self.supervisor.wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Returns when it is gone."""
        self.supervisor.stop()
        self.ports.release()
