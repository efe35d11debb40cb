"""pyroute2's message classes hold a logger and hardly use it; the real module costs 2 ms.

What they would log goes to stderr, where runtimes look for it.
"""

import sys


class _Logger:
    def warning(self, text: str, *arguments: object) -> None:
        """Write a line."""
        sys.stderr.write(f"{text % arguments if arguments else text}\n")

    error = critical = warning

    def debug(self, _text: str, *_arguments: object) -> None:
        """Write nothing."""

    info = debug


_LOGGER = _Logger()
warning, error = _LOGGER.warning, _LOGGER.error


def getLogger(_name: str | None = None) -> _Logger:  # noqa: N802 - the real one's name
    """The one logger."""
    return _LOGGER
