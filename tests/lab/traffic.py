"""How much gets through: iperf3 between any two places, and datagrams sent all at once."""

import json
import subprocess
import sys

from tests.lab.packets import _command

_PORT = "5201"
_SECONDS = "4"
_FRAME = 1514 / 1448  # of TCP over IPv4 on Ethernet: what a qdisc counts for a byte of payload
_BLAST = """
import socket, sys
address, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sending = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
for _ in range(count):
    sending.sendto(bytes(size), (address, 9))
"""


def rate(sender, receiver, address):
    """Bits a second on the wire from one place to another, without what a burst gave at first."""
    words = ("iperf3", "-s", "-1", "-p", _PORT, "--forceflush")
    server = subprocess.Popen(_command(receiver, *words), stdout=subprocess.PIPE, text=True)
    try:
        assert any("listening" in line for line in server.stdout)
        options = ("-p", _PORT, "-t", _SECONDS, "-O", "1", "-J")
        report = json.loads(sender.run("iperf3", "-c", address, *options))
        return report["end"]["sum_received"]["bits_per_second"] * _FRAME
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def is_limited_to(sender, receiver, address, bits, tries=3):
    """Whether the rate is within 10 % of ``bits`` a second; a busy machine gets three tries."""
    rates = []
    for _ in range(tries):
        rates.append(rate(sender, receiver, address))
        if 0.9 * bits < rates[-1] < 1.1 * bits:
            return True
    print(f"wanted {bits} bits/s, got {rates}")
    return False


def blast(sender, address, count, size):
    """Send datagrams as fast as it goes."""
    sender.run(sys.executable, "-I", "-S", "-c", _BLAST, address, str(count), str(size))
