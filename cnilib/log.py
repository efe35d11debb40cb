"""What a plugin says beside its answer: lines on stderr, which runtimes copy to their log."""

import sys


def warn(text: str) -> None:
    """Write one line to stderr; line breaks in ``text`` become spaces.

    A closed stderr is no reason to fail: the answer on stdout is what counts.
    """
    try:
        sys.stderr.write(" ".join(text.splitlines()) + "\n")
        sys.stderr.flush()
    except OSError:
        return
