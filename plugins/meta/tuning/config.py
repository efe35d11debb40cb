"""The configuration of tuning (tuning.md 2), and the settings that its five sources add up to."""

import json
from typing import NamedTuple

from pydantic import Field

from cnilib import jsontext
from cnilib.errors import ConfigError
from cnilib.types.addresses import parse_mac
from cnilib.types.base import FilePath, Model
from cnilib.types.config import NetConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DATA_DIR = "/run/cni/tuning"
_MAX_INT, _MAX_UNSIGNED = (1 << 31) - 1, (1 << 32) - 1  # types of IFLA_MTU and IFLA_TXQLEN

Value = str | int | bool
"""MAC, MTU in bytes, queue length in packets, or a switch."""


class RuntimeConfig(Model):
    """What the runtime puts in for the capability ``mac``."""

    mac: str = Field(default="", description="wins over all other MACs")


class CniArgs(Model):
    """The keys of ``args.cni`` that replace those of the configuration."""

    sysctl: dict[str, str] = Field(default={}, description="merged key by key")
    mac: str | None = Field(default=None, description="replaces mac")
    mtu: int | None = Field(default=None, description="replaces mtu")
    promisc: bool | None = Field(default=None, description="replaces promisc")
    allmulti: bool | None = Field(default=None, description="replaces allmulti")
    tx_queue_length: int | None = Field(default=None, alias="txQLen", description="replaces txQLen")


class Args(Model):
    """The conventional ``args`` of a configuration; only ``cni`` is ours."""

    cni: CniArgs = CniArgs()


class TeardownConf(NetConf):
    """What DEL and GC read. Values are not judged here: DEL must not fail for them."""

    sysctl: dict[str, str] = Field(
        default={},
        description="name below net -> value; IFNAME stands for CNI_IFNAME",
    )
    mac: str = Field(default="", description="hardware address")
    mtu: int = Field(default=0, description="MTU in bytes; 0 leaves it")
    promisc: bool = Field(default=False, description="switch promiscuous mode on")
    allmulti: bool | None = Field(default=None, description="switch all-multicast mode on or off")
    tx_queue_length: int | None = Field(
        default=None, alias="txQLen", description="length of the transmit queue in packets"
    )
    data_directory: FilePath = Field(
        default="", alias="dataDir", description=f"where old values are kept ({DATA_DIR})"
    )
    runtime_config: RuntimeConfig = RuntimeConfig()
    args: Args = Args()

    @property
    def data_dir(self) -> str:
        """The directory of the backup files."""
        return self.data_directory or DATA_DIR


class Conf(TeardownConf):
    """What ADD and CHECK read; ``configured`` judges it, once all sources are merged."""


class Settings(NamedTuple):
    """What is to be changed: sysctls as written, and the members of the backup file.

    ``attributes`` holds, in the order of ADD and only when configured, ``mac``, ``promisc``,
    ``mtu``, ``allmulti`` and ``txQLen``.
    """

    sysctls: dict[str, str]
    attributes: dict[str, Value]


def configured(conf: Conf, mac: str) -> Settings:
    """All sources merged; ``mac`` is the one of CNI_ARGS.

    Raises:
        ConfigError: a MAC that is none, a negative or impossible MTU or queue length.
    """
    args = conf.args.cni
    wanted: dict[str, Value | None] = {
        "mac": _first(args.mac, conf.runtime_config.mac or mac or conf.mac) or None,
        "promisc": _first(args.promisc, conf.promisc) or None,
        "mtu": _first(args.mtu, conf.mtu) or None,
        "allmulti": _first(args.allmulti, conf.allmulti),
        "txQLen": _first(args.tx_queue_length, conf.tx_queue_length),
    }
    attributes = {key: _valid(key, value) for key, value in wanted.items() if value is not None}
    return Settings(conf.sysctl | args.sysctl, attributes)


def check_duplicates(stdin: bytes) -> None:
    """A sysctl that stands twice in the object would silently lose one of its values.

    Raises:
        ConfigError: there is one.
    """
    document = json.loads(stdin.decode("utf-8", "replace"), object_pairs_hook=_Object)
    sysctl = jsontext.find(document, "sysctl")
    if isinstance(sysctl, _Object) and sysctl.twice:
        raise ConfigError(
            f"duplicated sysctl keys are not allowed: {', '.join(sysctl.twice)}; keep one of each"
        )


class _Object(dict[str, object]):
    """A JSON object that remembers which keys it was given more than once."""

    def __init__(self, pairs: "list[tuple[str, Any]]") -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs] if len(self) < len(pairs) else []
        self.twice = sorted({key for key in keys if keys.count(key) > 1})


def _first(preferred: "Value | None", other: "Value | None") -> "Value | None":
    return other if preferred is None else preferred


def _valid(key: str, value: Value) -> Value:
    limit = {"mtu": _MAX_INT, "txQLen": _MAX_UNSIGNED}.get(key)
    if limit is not None and not 0 <= int(value) <= limit:
        raise ConfigError(f"invalid {key} {value}: expected 0 to {limit}")
    if key != "mac":
        return value
    try:
        return parse_mac(str(value))
    except ValueError as error:
        raise ConfigError(f"invalid mac: {error}") from None
