"""All or nothing for ADD, everything possible for DEL and GC.

``Undo`` is the stack of ADD: each step is registered *before* the act it takes back, so that a
failure (or a SIGTERM) between the two leaves nothing behind; undoing what was never done must
therefore be harmless. ``ErrorList`` is the other way round: DEL and GC attempt every clean-up,
collect what failed and report it once, at the end.
"""

from cnilib.errors import CniError, as_cni_error, one_error
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import ParamSpec, Self

    P = ParamSpec("P")


class Undo:
    """A stack of steps that are run, last first, when the ``with`` block fails."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def add(
        self, what: str, step: "Callable[P, object]", *args: "P.args", **kwargs: "P.kwargs"
    ) -> None:
        """Register ``step(*args, **kwargs)``; ``what`` says in a log line what it takes back."""
        self._steps.append((what, lambda: step(*args, **kwargs)))

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        failure: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        if failure is not None:
            self.run()

    def run(self) -> None:
        """Undo everything now. A step that fails is told on stderr and the rest still runs."""
        try:
            self._run_steps()
        except BaseException:  # a signal, which comes once: the step it stopped is run again
            self._run_steps()
            raise

    def _run_steps(self) -> None:
        while self._steps:
            what, step = self._steps[-1]
            try:
                step()
            except Exception as failed:  # noqa: BLE001 - the first error is the one reported
                warn(f"undo: failed to {what}: {as_cni_error(failed)}")
            self._steps.pop()


class ErrorList:
    """Failures of a clean-up that must go on.

    Use one ``with errors:`` block for each step; a failing step is remembered and the next
    statement after the block runs. ``CniError`` and ``OSError`` are collected, anything else is
    a bug and passes.
    """

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        failure: "BaseException | None",
        trace: "TracebackType | None",
    ) -> bool:
        if not isinstance(failure, (CniError, OSError)):
            return False
        self.failures.append(failure)
        return True

    def raise_any(self) -> None:
        """Raise what was collected as one error, or nothing."""
        if self.failures:
            raise one_error(self.failures)
