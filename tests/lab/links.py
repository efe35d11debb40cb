"""A network card of the throw-away host with a wire behind it, and how links are looked at."""


def plug_in(host, name="eno1", *, address=None, machine=None, up=True):
    """Give the host a network card ``name``; the other end of its wire is ``machine``'s link of
    the same name, or the host's ``<name>-far``."""
    far = (name, "netns", machine.name) if machine else (f"{name}-far",)
    host.run("ip", "link", "add", name, "type", "veth", "peer", "name", *far)
    if address:
        host.run("ip", "address", "add", address, "dev", name)
    if up:
        host.run("ip", "link", "set", name, "up")
        (machine or host).run("ip", "link", "set", far[0], "up")
    return link_of(host, name)


def link_of(place, name):
    """What ``ip -j -d link`` says about one link of a host or container."""
    (found,) = place.show("link", "show", "dev", name)
    return found


def kind_of(place, name):
    """Its kind, and what is special to that kind."""
    info = link_of(place, name)["linkinfo"]
    return info["info_kind"], info.get("info_data", {})


def default_route(container):
    """Gateway and device; None without one."""
    routes = container.show("-4", "route", "show", "default")
    return (routes[0].get("gateway"), routes[0]["dev"]) if routes else None


def sysctl(container, key):
    """A sysctl of the container, by its path below /proc/sys/net."""
    return container.run("cat", f"/proc/sys/net/{key}").strip()


def leases(host, network):
    """The addresses that host-local has given out."""
    directory = f"/var/lib/cni/networks/{network}"
    if host.try_run("test", "-d", directory).returncode != 0:
        return set()
    return {name for name in host.listdir(directory) if name[0].isdigit()}
