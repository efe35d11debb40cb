"""What a result looks like in each CNI version (protocol.md 5).

Inside the suite there is one shape, ``Result``; only this module speaks the older ones. Versions
fall in three families whose members differ by the version string alone.
"""

from cnilib import jsontext
from cnilib.errors import CniError, DecodeError
from cnilib.types.addresses import Cidr, OptionalIp
from cnilib.types.base import Items, JsonObject, Model, decode
from cnilib.types.result import DNS, Interface, IPConfig, Result, Route

_SINGLE = frozenset({"0.1.0", "0.2.0"})
_LISTS = frozenset({"0.3.0", "0.3.1", "0.4.0"})
_NEWEST = frozenset({"1.0.0", "1.1.0"})


class _SingleIP(Model):
    """``ip4`` / ``ip6`` of 0.1.0 and 0.2.0."""

    ip: Cidr
    gateway: OptionalIp = None
    routes: Items[Route] = ()


class _SingleResult(Model):
    """A result of 0.1.0 and 0.2.0: at most one address of each family, no interfaces."""

    ip4: _SingleIP | None = None
    ip6: _SingleIP | None = None
    dns: DNS = DNS()


def decode_result(value: object, version: str) -> Result:
    """A decoded JSON document in the shape of ``version`` as a ``Result``.

    The document's own cniVersion may be any of the same family, or absent.

    :raises DecodeError: not an object, wrong types, or a cniVersion of another family.
    """
    family = _family(version)
    if not isinstance(value, dict):
        raise DecodeError(f"could not parse prevResult: expected an object of version {version}")
    own = jsontext.find(value, "cniVersion")
    if own and own not in family:
        raise DecodeError(
            f"could not parse prevResult: its cniVersion {own!r} does not go with {version}"
        )
    if family is _SINGLE:
        return _from_single(decode(_SingleResult, value))
    result = decode(Result, value)
    return _without_new_fields(result) if family is _LISTS else result


def encode_result(result: Result, version: str) -> bytes:
    """The document of ``version``: 4 spaces of indentation, no trailing newline, UTF-8.

    :raises CniError: a result without any address cannot be told in 0.1.0 and 0.2.0.
    """
    family = _family(version)
    document: JsonObject = {"cniVersion": version}
    if family is _SINGLE:
        document |= _single_document(result)
    elif family is _LISTS:
        document |= _lists_document(result)
    else:
        document |= _newest_document(result)
    return jsontext.dump(document, sort_keys=family is _NEWEST)


def _family(version: str) -> frozenset[str]:
    for family in (_NEWEST, _LISTS, _SINGLE):
        if version in family:
            return family
    raise DecodeError(f"unsupported CNI result version {version!r}")


def _from_single(old: _SingleResult) -> Result:
    blocks = [block for block in (old.ip4, old.ip6) if block is not None]
    return Result(
        ips=tuple(IPConfig(address=block.ip, gateway=block.gateway) for block in blocks),
        routes=tuple(
            Route(dst=route.dst, gw=route.gw) for block in blocks for route in block.routes
        ),
        dns=old.dns,
    )


def _without_new_fields(result: Result) -> Result:
    """Interfaces of 0.3.0 to 0.4.0 have no mtu, socketPath and pciID."""
    plain = tuple(Interface(name=i.name, mac=i.mac, sandbox=i.sandbox) for i in result.interfaces)
    return result.model_copy(update={"interfaces": plain})


def _single_document(result: Result) -> JsonObject:
    document: JsonObject = {}
    for version, key in ((4, "ip4"), (6, "ip6")):
        ip = next((ip for ip in result.ips if ip.address.version == version), None)
        if ip is None:
            continue
        routes = [
            _present(dst=str(route.dst), gw=_text(route.gw))
            for route in result.routes
            if route.dst.version == version
        ]
        document[key] = {"ip": str(ip.address)} | _present(gateway=_text(ip.gateway), routes=routes)
    if not document:
        raise CniError("cannot convert the result to CNI version 0.2.0: no valid IP addresses")
    return document | {"dns": _dns(result.dns)}


def _lists_document(result: Result) -> JsonObject:
    interfaces = [
        {"name": i.name} | _present(mac=i.mac, sandbox=i.sandbox) for i in result.interfaces
    ]
    ips = [{"version": str(ip.address.version)} | _ip(ip) for ip in result.ips]
    return _present(interfaces=interfaces, ips=ips, routes=_routes(result)) | {
        "dns": _dns(result.dns)
    }


def _newest_document(result: Result) -> JsonObject:
    interfaces = [
        {"name": i.name}
        | _present(
            mac=i.mac, mtu=i.mtu, sandbox=i.sandbox, socketPath=i.socket_path, pciID=i.pci_id
        )
        for i in result.interfaces
    ]
    return _present(
        interfaces=interfaces,
        ips=[_ip(ip) for ip in result.ips],
        routes=_routes(result),
        dns=_dns(result.dns),
    )


def _ip(ip: IPConfig) -> JsonObject:
    index: JsonObject = {} if ip.interface is None else {"interface": ip.interface}
    return index | {"address": str(ip.address)} | _present(gateway=_text(ip.gateway))


def _routes(result: Result) -> list[JsonObject]:
    return [_route(route) for route in result.routes]


def _route(route: Route) -> JsonObject:
    document: JsonObject = {"dst": str(route.dst)} | _present(
        gw=_text(route.gw), mtu=route.mtu, advmss=route.advmss, priority=route.priority
    )
    if route.table is not None:
        document["table"] = route.table
    if route.scope is not None:
        document["scope"] = route.scope
    return document


def _dns(dns: DNS) -> JsonObject:
    return _present(
        nameservers=list(dns.nameservers),
        domain=dns.domain,
        search=list(dns.search),
        options=list(dns.options),
    )


def _present(**members: object) -> JsonObject:
    """The members that are not empty; 0, ``""`` and empty lists are never written."""
    return {key: value for key, value in members.items() if value}


def _text(value: object) -> str:
    return "" if value is None else str(value)
