"""What a plugin says beside its answer: lines on stderr, which runtimes copy to their log."""

import os

_STDERR = 2


def warn(text: str) -> None:
    """Write one line to stderr; line breaks in ``text`` become spaces.

    A closed stderr is no reason to fail: the answer on stdout is what counts.
    """
    line = " ".join(text.splitlines()) + "\n"
    try:
        os.write(_STDERR, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return
