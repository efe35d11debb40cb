"""``dhcp daemon`` as a process: flags, sockets, restarts, strangers, and a thousand leases."""

import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT
from tests.lab.dhcp import SOCKET, needs_dnsmasq
from tests.lab.network import Network
from tests.lab.waiting import until

REFERENCE = "/usr/lib/cni/dhcp"
LEASE = {"lease": 600, "t1": 2, "t2": 300}


def renews_again(lan):
    before = len(lan.renewals())
    until(lambda: len(lan.renewals()) > before)


# restarts


@pytest.mark.ours("the reference forgets its leases (plugins#235)")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_leases_survive_the_daemon(idle, number):
    idle.start_daemon()
    idle.start_server(**LEASE)
    first = idle.add()
    idle.stop_daemon(number)
    idle.start_daemon()
    assert idle.check().ok
    renews_again(idle)
    assert idle.add() == first
    assert len(idle.seen("DISCOVER")) == 1
    idle.delete()
    until(lambda: idle.seen("RELEASE"))


@pytest.mark.ours("the reference forgets its leases (plugins#235)")
def test_a_lease_of_another_link_is_not_taken_up(idle):
    idle.start_daemon()
    idle.start_server(**LEASE)
    idle.add()
    idle.stop_daemon()
    idle.container.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:07")
    idle.start_daemon()
    assert not idle.check().ok
    assert idle.lease_files() == set()


@pytest.mark.ours("the reference forgets its leases (plugins#235)")
def test_a_lease_outlives_a_mac_that_a_later_plugin_set(idle):
    idle.start_daemon()
    idle.start_server(**LEASE | {"t1": 200})
    idle.add()
    mac = "02:00:00:00:00:07"
    idle.container.run("ip", "link", "set", "eth0", "address", mac)
    (file,) = idle.lease_files()
    until(lambda: mac in idle.host.read(f"{SOCKET}.leases/{file}"))
    idle.stop_daemon()
    idle.start_daemon()
    assert idle.check().ok


def test_a_broken_lease_file_keeps_nothing_from_starting(idle):
    idle.host.write(f"{SOCKET}.leases/0123.4.json", '{"boot": ')
    idle.start_daemon()
    idle.start_server()
    assert idle.add()["ips"]


@pytest.mark.ours("Debian's release of the reference dies of the signal")
def test_a_stopped_daemon_releases_nothing_and_cleans_up(idle):
    idle.host.run("mkdir", "-p", "/run/there")
    idle.start_daemon("-pidfile", "/run/there/dhcp.pid")
    idle.start_server()
    idle.add()
    assert idle.host.read("/run/there/dhcp.pid") == str(pid_of(idle))
    assert idle.stop_daemon() == 0
    assert idle.host.listdir("/run/there") == set()
    assert idle.host.try_run("test", "-e", SOCKET).returncode == 1
    assert idle.seen("RELEASE") == []


def pid_of(lan):
    """nsenter becomes the program that it runs."""
    return lan.daemon.pid


@pytest.mark.ours("the reference's DEL fails")
def test_a_del_without_daemon_is_made_up_for(idle):
    idle.start_daemon()
    idle.start_server(**LEASE)
    idle.add()
    idle.stop_daemon()
    answer = idle.delete()
    assert SOCKET in answer.stderr
    assert idle.seen("RELEASE") == []
    idle.start_daemon()
    until(lambda: idle.seen("RELEASE"))
    assert idle.lease_files() == set()


@pytest.mark.ours("the reference's DEL fails")
def test_a_del_where_no_daemon_ever_ran_succeeds(idle):
    idle.delete()


@pytest.mark.ours("the reference says neither")
def test_add_without_daemon_names_socket_and_command(idle):
    answer = idle.host.refused(idle.conf(daemonSocketPath="/run/other.sock"), idle.container)
    assert answer.code == 11
    for words in ("/run/other.sock", "dhcp daemon -socketpath /run/other.sock"):
        assert words in answer.msg


# sockets


def test_the_socket_s_path_can_be_chosen(idle):
    idle.start_daemon("-socketpath", "/run/deep/er/d.sock", socket="/run/deep/er/d.sock")
    idle.start_server()
    assert idle.add(idle.conf(daemonSocketPath="/run/deep/er/d.sock"))["ips"]


@pytest.mark.ours("the reference's is open to every user")
def test_only_root_may_use_the_socket(idle):
    idle.start_daemon()
    assert idle.host.run("stat", "-c", "%a", SOCKET).strip() == "600"
    idle.host.run("chmod", "666", SOCKET)
    code = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({SOCKET!r}); print(s.recv(9))"
    )
    words = ("setpriv", "--reuid=12345", "--clear-groups", sys.executable, "-I", "-S", "-c", code)
    assert idle.host.try_run(*words).stdout != "b''\n" or "12345" in idle.log()


@pytest.mark.ours("the reference wants the file removed by hand")
def test_the_socket_of_a_killed_daemon_is_replaced(idle):
    idle.start_daemon()
    idle.stop_daemon(signal.SIGKILL)
    assert idle.host.try_run("test", "-S", SOCKET).returncode == 0
    idle.start_daemon()
    assert idle.host.cni("STATUS", idle.conf("1.1.0")).ok


def test_a_second_daemon_ends_and_leaves_the_first_alone(lan):
    second = lan.start(f"{lan.host.binaries}/dhcp", "daemon")
    assert second.wait(30) == 1
    lan.start_server()
    assert lan.add()["ips"]


def test_a_socket_can_be_passed(idle):
    """As systemd does: descriptor 3, and LISTEN_PID of the process itself."""
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('/run/passed.sock'); s.listen(8)\n"
        "os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    words = (sys.executable, "-I", "-S", "-c", code, f"{idle.host.binaries}/dhcp", "daemon")
    idle.daemon = idle.start(*words)
    until(lambda: idle.host.try_run("test", "-S", "/run/passed.sock").returncode == 0)
    idle.start_server()
    assert idle.add(idle.conf(daemonSocketPath="/run/passed.sock"))["ips"]
    assert idle.host.try_run("test", "-e", SOCKET).returncode == 1


def test_more_than_one_passed_socket_is_refused(idle):
    code = (
        "import os, sys\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    words = (sys.executable, "-I", "-S", "-c", code, f"{idle.host.binaries}/dhcp", "daemon")
    assert idle.start(*words).wait(30) == 1


def test_sockets_passed_to_somebody_else_are_not_taken(idle):
    env = {"PATH": os.environ["PATH"], "LISTEN_PID": "1", "LISTEN_FDS": "1"}
    idle.daemon = idle.start(f"{idle.host.binaries}/dhcp", "daemon", env=env)
    until(lambda: idle.host.try_run("test", "-S", SOCKET).returncode == 0)


@pytest.mark.parametrize("flags", [["-bogus"], ["-timeout", "soon"], ["-timeout"]], ids=str)
def test_a_wrong_flag_shows_the_usage(idle, flags):
    process = idle.start(f"{idle.host.binaries}/dhcp", "daemon", *flags)
    assert process.wait(30) == 2
    assert "-socketpath" in process.log.read_text()


def test_help_is_no_error(idle):
    process = idle.start(f"{idle.host.binaries}/dhcp", "daemon", "-h")
    assert process.wait(30) == 0
    assert "-hostprefix" in process.log.read_text()


def test_a_relative_pidfile_is_refused(idle):
    assert idle.start(f"{idle.host.binaries}/dhcp", "daemon", "-pidfile", "pid").wait(30) == 1


def test_hostprefix_is_put_before_every_path(idle):
    idle.host.run("mkdir", "-p", "/run/host")
    idle.host.run("mount", "--rbind", "/", "/run/host")
    idle.start_daemon("-hostprefix", "/run/host")
    idle.start_server()
    assert idle.add()["ips"]


# strangers


def say(lan, blob):
    """What a peer that says ``blob`` hears."""
    code = (
        "import socket, sys\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({SOCKET!r}); s.settimeout(5)\n"
        f"s.sendall({blob!r}); s.shutdown(socket.SHUT_WR); print(s.recv(300))"
    )
    return lan.host.try_run(sys.executable, "-I", "-S", "-c", code).stdout


@pytest.mark.parametrize(
    "blob",
    [b"", b"\0" * 64, b'{"x":', b"[]\n", b'{"command": 7}\n', b'{"command": "ADD"}\n', b"\xff" * 9],
    ids=str,
)
def test_nonsense_does_no_harm(lan, blob):
    say(lan, blob)
    lan.start_server()
    assert lan.add()["ips"]
    assert "Traceback" not in lan.log()


@pytest.mark.ours("it is about the reference beside ours")
def test_a_plugin_of_the_reference_is_told_whose_daemon_it_is(lan):
    assert "400 this dhcp daemon serves" in say(lan, b"CONNECT /_goRPC_ HTTP/1.0\n\n")


@pytest.mark.ours("it is about the reference beside ours")
@pytest.mark.skipif(not os.path.exists(REFERENCE), reason="the reference is not installed")
def test_a_daemon_of_the_reference_is_recognised(idle):
    idle.daemon = idle.start(REFERENCE, "daemon")
    until(lambda: idle.host.try_run("test", "-S", SOCKET).returncode == 0)
    answer = idle.host.refused(idle.conf(), idle.container)
    assert "no dhcp daemon of this suite" in answer.msg


# many


def talk(path, order):
    """One order to the daemon, as the plugin sends it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(120)
        connection.connect(path)
        connection.sendall(json.dumps(order).encode() + b"\n")
        with connection.makefile() as file:
            return json.loads(file.read())


@pytest.mark.ours("the reference has its own protocol")
def test_a_thousand_leases_in_one_daemon(idle, tmp_path):
    """All got, all known to a daemon that is started again, all renewed, all released."""
    path = str(tmp_path / "many.sock")
    flags = ("-socketpath", path, "-statedir", "/run/many", "-timeout", "30s")
    idle.start_daemon(*flags, "-resendtimeout", "100s", socket=path)
    idle.start_server()
    order = {"network": "lan", "ifname": "eth0", "netns": idle.container.netns, "families": [4]}
    everyone = [order | {"containerId": f"c{number}", "request": [1, 3]} for number in range(1000)]

    def all_of(command):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda o: talk(path, o | {"command": command}), everyone))

    results = all_of("ADD")
    assert len({answer["result"]["ips"][0]["address"] for answer in results}) == 1000
    asked = len(idle.seen("DISCOVER"))
    idle.stop_daemon(signal.SIGKILL)
    idle.start_daemon(*flags, socket=path)
    assert all_of("CHECK") == [{}] * 1000
    assert len(idle.seen("DISCOVER")) == asked
    assert all_of("DEL") == [{}] * 1000
    until(lambda: len(idle.seen("RELEASE")) == 1000)
    assert len({row["options"]["61"] for row in idle.seen("RELEASE")}) == 1000


# with an interface plugin


@needs_dnsmasq
@pytest.mark.ours("the reference's release is ignored by dnsmasq")
def test_a_bridge_with_a_dhcp_server_on_it(idle):
    host, container = idle.host, idle.host.container()
    host.run("ip", "link", "add", "cni0", "type", "bridge")
    host.run("ip", "address", "add", "10.98.0.1/24", "dev", "cni0")
    host.run("ip", "link", "set", "cni0", "up")
    idle.start_daemon()
    server = idle.start_dnsmasq(
        "--dhcp-option-force=59,3", interface="cni0", pool="10.98.0.50,10.98.0.59,255.255.255.0"
    )
    bridge = {"type": "bridge", "bridge": "cni0", "ipam": {"type": "dhcp"}}
    network = Network(host, [bridge], version="1.1.0")
    result = network.add(container)
    assert result["ips"][0]["address"] == "10.98.0.50/24"
    assert container.addresses() == ["10.98.0.50/24"]
    assert container.pings("10.98.0.1")
    assert network.check(container).ok
    until(lambda: server.log.read_text().count("DHCPACK") >= 2)  # renewed over the bridge
    assert container.pings("10.98.0.1")
    network.delete(container)
    until(lambda: idle.leases() == [])


@pytest.fixture
def segment(idle):
    """The host's link ``up0`` into a LAN where dnsmasq serves both families and routes.

    The lab's container is a machine on that LAN, which has the server.
    """
    idle.host.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    idle.host.run("ip", "link", "set", "up1", "netns", idle.container.name)
    for address in ("10.99.0.1/24", "fd99::1/64"):
        idle.container.run("ip", "address", "add", address, "dev", "up1")
    idle.container.run("ip", "link", "set", "up1", "up")
    idle.host.run("ip", "link", "set", "up0", "up")
    v6 = ("--dhcp-range=fd99::50,fd99::5f,64,10m", "--enable-ra")
    pool = "10.99.0.50,10.99.0.59,255.255.255.0"
    inside = ("ip", "netns", "exec", idle.container.name)
    idle.start_dnsmasq(*v6, interface="up1", pool=pool, inside=inside)
    return idle


@needs_dnsmasq
@pytest.mark.kernel("macvlan")
@pytest.mark.ours("the reference knows no DHCPv6")
def test_a_macvlan_on_a_lan_with_a_dhcp_server(segment):
    segment.start_daemon()
    container = segment.host.container()
    macvlan = {"type": "macvlan", "master": "up0", "ipam": {"type": "dhcp", "ipv6": True}}
    network = Network(segment.host, [macvlan], version="1.1.0")
    network.add(container)
    first, second = container.addresses()
    assert first == "10.99.0.50/24"
    assert second.startswith("fd99::5")
    assert container.pings("10.99.0.1")
    until(lambda: container.pings("fd99::1"))  # the router's advertisement tells the way
    assert network.check(container).ok
    network.delete(container)
    until(lambda: segment.leases() == [])


@needs_dnsmasq
@pytest.mark.kernel("ipvlan")
@pytest.mark.ours("-broadcast has no effect in the reference")
def test_two_ipvlans_of_one_mac_with_a_server_that_broadcasts(segment):
    segment.start_daemon("-broadcast")
    ipvlan = {"type": "ipvlan", "master": "up0", "ipam": {"type": "dhcp"}}
    network = Network(segment.host, [ipvlan], version="1.1.0")
    containers = [segment.host.container() for _ in range(2)]
    for container in containers:
        network.add(container)
    assert [c.addresses() for c in containers] == [["10.99.0.50/24"], ["10.99.0.51/24"]]
    assert all(container.pings("10.99.0.1") for container in containers)
    for container in containers:
        network.delete(container)
    until(lambda: segment.leases() == [])


def test_the_source_runs_the_daemon_too(idle):
    """``python -m plugins.launch dhcp daemon``."""
    if not os.path.exists(ROOT / "plugins/launch.py"):
        pytest.skip("no source")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    process = idle.start(sys.executable, "-m", "plugins.launch", "dhcp", "daemon", "-h", env=env)
    assert process.wait(60) == 0
