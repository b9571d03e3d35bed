"""How much memory a process takes at the most, over a while. man 5 proc: VmHWM, clear_refs."""

from pathlib import Path


def peak_kib(pid: int | str = "self") -> int:
    """The most memory of the process since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def forget_peak(pid: int | str = "self") -> None:
    """Begin anew with what it takes now."""
    # Not ru_maxrss: a child begins with its parent's.
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
