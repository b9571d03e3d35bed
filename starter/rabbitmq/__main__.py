"""`python -m starter.rabbitmq`: consume requests until SIGTERM or Ctrl-C."""

from starter.leaving import run_and_leave


def program() -> int:
    """Consume with the settings of the environment; a wrong one is one clear text and exit 2."""
    # Imported here, after the exit was arranged, so that what these do at exit is done.
    from peers.settings import EXIT_SETTINGS, SettingsError  # noqa: PLC0415
    from peers.terminal import complain  # noqa: PLC0415
    from starter.rabbitmq.serve import serve  # noqa: PLC0415

    try:
        serve()
    except SettingsError as error:
        complain(error)
        return EXIT_SETTINGS
    return 0


if __name__ == "__main__":
    run_and_leave(program)
