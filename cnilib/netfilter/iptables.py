"""The iptables backend: one ``iptables-restore --noflush --wait`` for each family.

A restore changes one table at once or not at all, where the reference plugins start 10 to 20
processes that can interleave with anybody's. Rules are lines as ``iptables-save`` prints them
("-A CHAIN ..."). A line ":CHAIN - [0:0]" creates a chain - and empties it if it exists.

When this backend is used: netfilter.md 5. Everything else goes through nftables.
"""

import os
import time

from cnilib.errors import CniError, ConfigError, TryAgain
from cnilib.frozen import child_environment
from cnilib.store import process_deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cnilib.attachment import Attachment

_PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}
_REGISTERED = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}
_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,+=%@![]")
_TRIES = 5
_COMMENT_BYTES = 255
_CHAIN_NAME = 28  # XT_EXTENSION_MAXNAMELEN - 1

INTERFACE_MARK = ' if: "'
"""Stands before the interface in a comment of ours."""


class Listing:
    """One table as ``iptables -S`` tells it: chain -> its "-A ..." lines, in order."""

    def __init__(self, lines: "Iterable[str]") -> None:
        self.chains: dict[str, list[str]] = {}
        for line in lines:
            kind, _, rest = line.partition(" ")
            name = rest.partition(" ")[0]
            if kind in {"-P", "-N"}:
                self.chains.setdefault(name, [])
            elif kind == "-A":
                self.chains.setdefault(name, []).append(line)

    def __contains__(self, chain: str) -> bool:
        return chain in self.chains

    def rules(self, chain: str) -> list[str]:
        """The rules of a chain; none when it is missing."""
        return self.chains.get(chain, [])

    def jumps(self, chain: str, target: str) -> list[str]:
        """The rules of ``chain`` that go to ``target``."""
        ends = (f" -j {target}", f" -g {target}")
        return [rule for rule in self.rules(chain) if rule.endswith(ends)]


def words(*parts: str) -> str:
    """One rule from its words, each quoted where iptables-restore needs it.

    Raises:
        ConfigError: a line break or NUL, which no rule can hold.
    """
    return " ".join(_quoted(part) for part in parts)


def deletion(rule: str) -> str:
    """The line that deletes what the line ``rule`` ("-A CHAIN ...") appended."""
    return "-D" + rule.removeprefix("-A")


def reference_chain(prefix: str, attachment: "Attachment") -> str:
    """The name the reference plugins give a container's chain, for example ``CNI-DN-0a1b...``.

    ``prefix``, then hexadecimal SHA-512 of network name and container id; 28 characters in all.
    """
    from hashlib import sha512

    text = attachment.network + attachment.container_id
    return (prefix + sha512(text.encode()).hexdigest())[:_CHAIN_NAME]


def comment(text: str, ifname: str) -> str:
    """A rule comment that ends with its interface, within the kernel's 255 bytes (xt_comment).

    Two interfaces of a container in one network share the reference plugins' chain names; this
    tells their rules apart.
    """
    ending = interface_marker(ifname)
    room = _COMMENT_BYTES - len(ending.encode())
    return text.encode()[:room].decode("utf-8", "ignore") + ending


def interface_marker(ifname: str) -> str:
    """How a comment of ours ends; the reference plugins' comments have no interface."""
    return f'{INTERFACE_MARK}{ifname}"'


def available(family: str) -> bool:
    """Whether there is a binary for the family that this host's rules need."""
    return bool(find_program(f"{_program(family)}-restore") and find_program(_program(family)))


def legacy_tables(family: str) -> list[str]:
    """The iptables-legacy tables the kernel has in this network namespace, with rules or not."""
    try:
        with open(f"/proc/thread-self/net/{_REGISTERED[family]}", "rb") as names:
            return names.read().decode().split()
    except OSError:  # a kernel without ip_tables, or not our right to read: no legacy rules
        return []


def uses_legacy(family: str = "ip") -> bool:
    """Whether rules are kept by iptables-legacy here (netfilter.md 5).

    The kernel lists a legacy table once somebody looked at it, so an empty one does not count.

    Raises:
        TryAgain: another program keeps its lock.
    """
    names = legacy_tables(family)
    return any(_has_rules(family, table) for table in ("nat", "filter") if table in names)


def listing(family: str, table: str) -> Listing:
    """The whole table, by one process; a missing table is an empty listing.

    Raises:
        ConfigError: there is no iptables binary.
        CniError: the tool failed.
    """
    status, output, errors = _run([_binary(family, ""), _wait(), "-t", table, "-S"])
    if status:
        raise _failure(family, table, "list", errors)
    return Listing(output.splitlines())


def restore(family: str, table: str, lines: "Sequence[str]") -> None:
    """Apply all lines to the table, or none; no lines, no process.

    Raises:
        ConfigError: there is no iptables binary.
        CniError: the tool failed; nothing was changed.
    """
    if not lines:
        return
    status, errors = _restore(family, table, lines)
    if status:
        raise _failure(family, table, "change", errors)


def change(family: str, table: str, plan: "Callable[[Listing], Sequence[str]]") -> None:
    """Apply the lines that ``plan`` derives from what is there now.

    Planned again when the restore fails, since somebody may have changed the table after it was
    listed.

    Raises:
        ConfigError: there is no iptables binary.
        CniError: the tool failed the same way on an unchanged table.
    """
    before = listing(family, table)
    for attempt in range(_TRIES):
        lines = plan(before)
        status, errors = _restore(family, table, lines) if lines else (0, "")
        if not status:
            return
        now = listing(family, table)
        if now.chains == before.chains and attempt:
            raise _failure(family, table, "change", errors)
        before = now
        import random

        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - apart from others, not secret
    raise TryAgain(f"table {family} {table} keeps changing under iptables-restore; try again")


def missing_rule(family: str, table: str, rules: "Sequence[str]") -> str | None:
    """The first of ``rules`` ("-A CHAIN ...") that does not exist; None when all do.

    iptables itself compares, so spelling does not matter. One process when nothing is missing.

    Raises:
        ConfigError: there is no iptables binary.
    """
    if not rules:
        return None
    checks = ["-C" + rule.removeprefix("-A") for rule in rules]
    status, errors = _restore(family, table, checks)
    if not status:
        return None
    number = _failed_line(errors) - 2  # line 1 is the table's
    if 0 <= number < len(rules):
        return rules[number]
    for rule, check in zip(rules, checks, strict=True):
        if _restore(family, table, [check])[0]:
            return rule
    raise _failure(family, table, "check", errors)


def _quoted(word: str) -> str:
    if set(word) & {"\n", "\r", "\0"}:
        raise ConfigError(f"invalid word {word!r} for an iptables rule: it has a line break")
    if word and not set(word) - _PLAIN:
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _failed_line(errors: str) -> int:
    """The line number in iptables-restore's complaint, 0 without one."""
    for marker in ("line:", "line"):
        _, found, rest = errors.partition(f" {marker} ")
        digits = rest.split(maxsplit=1)[0].rstrip(":") if found and rest.strip() else ""
        if digits.isdigit():
            return int(digits)
    return 0


def _restore(family: str, table: str, lines: "Sequence[str]") -> tuple[int, str]:
    text = "\n".join((f"*{table}", *lines, "COMMIT", ""))
    command = [_binary(family, "-restore"), "--noflush", _wait()]
    status, _, errors = _run(command, text)
    return status, errors


def _run(command: "Sequence[str]", text: str = "") -> tuple[int, str, str]:
    import subprocess

    done = subprocess.run(  # noqa: S603 - fixed programs, the arguments are no shell words
        command,
        input=text.encode(),
        capture_output=True,
        env=child_environment(os.environ) | {"LC_ALL": "C"},
        check=False,
    )
    output, errors = (part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
    return done.returncode, output, errors


def _binary(family: str, suffix: str) -> str:
    name = _program(family) + suffix
    path = find_program(name)
    if path is None:
        raise ConfigError(
            f"no {name} on this host: install iptables, or use the nftables backend instead"
        )
    return path


def _program(family: str) -> str:
    """``iptables``, or the legacy one by its own name where the default is the nft variant."""
    plain = _PROGRAMS[family]
    legacy = f"{plain}-legacy"
    return legacy if find_program(legacy) and uses_legacy(family) else plain


def find_program(name: str) -> str | None:
    """The executable in PATH or in the places where it lives; runtimes' PATH may lack sbin."""
    path = os.environ.get("PATH", "").split(":")
    for directory in (*path, *_DIRECTORIES):
        candidate = os.path.join(directory, name)
        if directory and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def _has_rules(family: str, table: str) -> bool:
    plain = _PROGRAMS[family]
    tool = find_program(f"{plain}-legacy") or find_program(plain)
    if tool is None:
        return False
    status, output, errors = _run([tool, _wait(), "-t", table, "-S"])
    failure = _failure(family, table, "list", errors) if status else None
    if isinstance(failure, TryAgain):
        raise failure
    return not status and any(line.startswith("-A") for line in output.splitlines())


def _wait() -> str:
    """How long iptables-legacy may wait for its lock: as long as this call may take."""
    return f"--wait={max(1, int(process_deadline() - time.monotonic()))}"


def _failure(family: str, table: str, act: str, errors: str) -> CniError:
    """The tool's first line that says something is the message, the rest the details."""
    if "xtables lock" in errors:
        return TryAgain(
            f"failed to {act} table {table} of {_PROGRAMS[family]}: another program holds the "
            "xtables lock (/run/xtables.lock); try again"
        )
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Try `", "Error occurred at"))]
    reason = useful[0] if useful else "no reason given"
    return CniError(
        f"{_PROGRAMS[family]} failed to {act} table {table}: {reason}", "; ".join(lines[1:])
    )
