"""iptables match words in the words of nft, for hosts without an iptables binary.

Only the subset that means the same in both (netfilter.md 5): ``-s -d -i -o -p --sport --dport
-m tcp|udp|sctp|mark --mark``, each with ``!`` in front.
"""

from cnilib.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LONG = {
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--protocol": "-p",
    "--source-port": "--sport",
    "--destination-port": "--dport",
    "--match": "-m",
}
_MATCHES = frozenset({"tcp", "udp", "sctp", "mark"})


def translated(words: "Sequence[str]", family: str) -> tuple[str, ...]:
    """The same condition for a rule of ``family`` ("ip" or "ip6") in nft's words.

    Raises:
        ConfigError: a word outside the subset; it is named.
    """
    out: list[str] = []
    rest = list(words)
    protocol = "th"
    while rest:
        negated = rest[0] == "!"
        if negated:
            rest.pop(0)
        if len(rest) < 2:
            raise _untranslatable(words, rest[0] if rest else "!")
        option, value = _LONG.get(rest[0], rest[0]), rest[1]
        del rest[:2]
        if option == "-p":
            protocol = value.lower()
        if option == "-m":
            if value not in _MATCHES or negated:
                raise _untranslatable(words, f"-m {value}")
            continue
        out += _match(option, value, family, protocol, negated=negated) or _refuse(words, option)
    return tuple(out)


def _match(option: str, value: str, family: str, protocol: str, *, negated: bool) -> list[str]:
    equals = ["!="] if negated else []
    if option in ("-s", "-d"):
        many = f"{{ {value} }}" if "," in value else value
        return [family, "saddr" if option == "-s" else "daddr", *equals, many]
    if option in ("-i", "-o"):
        name = value[:-1] + "*" if value.endswith("+") else value
        return ["iifname" if option == "-i" else "oifname", *equals, f'"{name}"']
    if option == "-p":
        return ["meta", "l4proto", *equals, protocol]
    if option in ("--sport", "--dport"):
        return [protocol, option[2:], *equals, value.replace(":", "-")]
    if option == "--mark":
        mark, _, mask = value.partition("/")
        masked = ["&", mask, equals[0] if equals else "=="] if mask else equals
        return ["meta", "mark", *masked, mark]
    return []


def _refuse(words: "Sequence[str]", option: str) -> list[str]:
    raise _untranslatable(words, option)


def _untranslatable(words: "Sequence[str]", word: str) -> ConfigError:
    return ConfigError(
        f"cannot apply condition {' '.join(words)!r} without an iptables binary: {word} has no "
        "nftables translation here; install iptables or write the condition in nft words"
    )
