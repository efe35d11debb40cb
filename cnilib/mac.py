"""The hardware address that a runtime or a configuration asks for."""

import os

from pydantic import Field

from cnilib import attach
from cnilib.types.base import Model
from cnilib.types.config import NetConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.request import Request

_KEY = "MAC"
_GROUP_BIT, _LOCAL_BIT = 0x01, 0x02  # IEEE 802, first octet


class RuntimeConfig(Model):
    """What the runtime puts in for the capability ``mac``."""

    mac: str = Field(default="", description="MAC of the interface; wins over all others")


class Cni(Model):
    """The part of ``args.cni`` that is read."""

    mac: str = Field(default="", description="MAC of the interface")


class Args(Model):
    """The part of ``args`` that is read."""

    cni: Cni = Cni()


class MacConf(NetConf):
    """The keys that ask for a MAC in macvlan and its like (link-plugins-common.md G)."""

    mac: str = Field(default="", description="MAC of the interface")
    runtime_config: RuntimeConfig = RuntimeConfig()


class VethMacConf(NetConf):
    """The keys that ask for a MAC in bridge and ptp (bridge.md 2)."""

    runtime_config: RuntimeConfig = RuntimeConfig()
    args: Args = Args()


def wanted_mac(req: "Request", conf: MacConf, *, strict: bool = True) -> str:
    """The strongest of runtimeConfig, CNI_ARGS and ``mac``; "" when none is given.

    Where the reference plugin does not look at CNI_ARGS, ``strict`` is False and what is not a
    MAC is none of our business.

    Raises:
        EnvError: strict only, CNI_ARGS has a malformed pair or an unknown key.
        ConfigError: it is no MAC address.
    """
    return attach.requested_mac(
        (
            ("runtimeConfig.mac", conf.runtime_config.mac),
            ("MAC in CNI_ARGS", _in_cni_args(req, strict=strict)),
            ("mac", conf.mac),
        )
    )


def wanted_veth_mac(req: "Request", conf: VethMacConf, *, strict: bool = True) -> str:
    """The strongest of runtimeConfig, ``args`` and CNI_ARGS, as ``wanted_mac`` does it."""
    return attach.requested_mac(
        (
            ("runtimeConfig.mac", conf.runtime_config.mac),
            ("args.cni.mac", conf.args.cni.mac),
            ("MAC in CNI_ARGS", _in_cni_args(req, strict=strict)),
        )
    )


def _in_cni_args(req: "Request", *, strict: bool) -> str:
    pairs = req.cni_args({_KEY}) if strict else _pairs(req.args)
    return pairs.get(_KEY, "")


def _pairs(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (pair.partition("=") for pair in text.split(";"))}


def random_mac() -> str:
    """A locally administered unicast address nobody else chooses.

    udev's persistent policy derives one from the name, which repeats on every node.
    """
    octets = bytearray(os.urandom(6))
    octets[0] = octets[0] & ~_GROUP_BIT | _LOCAL_BIT
    return octets.hex(":")
