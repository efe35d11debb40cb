"""pyroute2's message classes and asyncio hold a logger and hardly use it; the real one costs 2 ms.

What they would log goes to stderr, where runtimes look for it.
"""

import sys


class _Logger:
    def warning(self, text: str, *arguments: object, exc_info: object = None) -> None:
        """Write a line, and the traceback that came with it."""
        sys.stderr.write(f"{text % arguments if arguments else text}\n")
        failure = sys.exc_info() if exc_info is True else exc_info
        if isinstance(failure, BaseException):
            failure = (type(failure), failure, failure.__traceback__)
        if isinstance(failure, tuple) and failure[0]:
            sys.__excepthook__(*failure)

    error = critical = exception = warning

    def debug(self, _text: str, *_arguments: object, **_more: object) -> None:
        """Write nothing."""

    info = debug


DEBUG = 10
_LOGGER = _Logger()
warning, error = _LOGGER.warning, _LOGGER.error


def getLogger(_name: str | None = None) -> _Logger:  # noqa: N802 - the real one's name
    """The one logger."""
    return _LOGGER
