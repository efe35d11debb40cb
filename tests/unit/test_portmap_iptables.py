"""The rules portmap writes in iptables."""

import pytest

from cnilib.attachment import Attachment
from cnilib.errors import ConfigError
from cnilib.netfilter.iptables import Listing, reference_chain
from cnilib.types.base import decode
from cnilib.types.result import Result
from plugins.meta.portmap import iptables_backend
from plugins.meta.portmap.config import Conf
from plugins.meta.portmap.targets import targets

OWN = Attachment("web", "one", "eth0")
CHAIN = reference_chain("CNI-DN-", OWN)
OTHER = "CNI-DN-0000000000000000000ab"


def planned(listed=(), *, ip="10.0.0.2/24", attachment=OWN, mappings=({},), **keys):
    """The lines of one restore, given what is there."""
    entries = [{"hostPort": 8080, "containerPort": 80} | mapping for mapping in mappings]
    conf = decode(Conf, {"runtimeConfig": {"portMappings": entries}} | keys)
    (target,) = targets(conf, decode(Result, {"ips": [{"address": ip}]}), "eth0")
    lines = []

    def change(_family, _table, plan):
        lines.extend(plan(Listing(listed)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iptables_backend, "change", change)
        iptables_backend.add_rules(conf, target, attachment)
    return lines


def of(chain, lines):
    return [line for line in lines if line.startswith(f"-A {chain} ")]


def without_comment(line):
    words = line.split(" ")
    return " ".join(words[: words.index("-m")]) + line.partition('eth0\\""')[2]


def test_all_chains_are_made_where_there_are_none():
    made = [line for line in planned() if line.startswith(":")]
    assert made == [
        f":{CHAIN} - [0:0]",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        ":CNI-HOSTPORT-SETMARK - [0:0]",
        ":CNI-HOSTPORT-MASQ - [0:0]",
    ]


def test_what_is_there_is_not_made_again():
    lines = planned()
    listed = [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A POSTROUTING -j CNI-HOSTPORT-MASQ",
        "-N CNI-HOSTPORT-DNAT",
        "-A CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000",
        "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    ]
    again = planned(listed)
    assert set(again) < set(lines)
    assert not of("PREROUTING", again)
    assert not of("CNI-HOSTPORT-MASQ", again)


def test_the_masquerade_jump_comes_first_in_postrouting():
    (line,) = (line for line in planned() if "POSTROUTING" in line)
    assert line.startswith("-I POSTROUTING 1 ")


def test_the_entry_names_network_container_and_interface():
    (entry,) = of("CNI-HOSTPORT-DNAT", planned())
    assert 'dnat name: \\"web\\" id: \\"one\\" if: \\"eth0\\"' in entry
    assert entry.endswith(f"--destination-ports 8080 -j {CHAIN}")


def test_ports_are_grouped_by_protocol_and_by_fifteen():
    mappings = [{"hostPort": 1000 + n} for n in range(17)] + [{"protocol": "udp"}]
    entries = of("CNI-HOSTPORT-DNAT", planned(mappings=mappings))
    assert [entry.partition("--destination-ports ")[2].count(",") for entry in entries] == [
        14,
        1,
        0,
    ]
    assert ["-p tcp" in entry for entry in entries] == [True, True, False]


def test_a_range_takes_two_of_the_fifteen():
    mappings = [{"hostPort": 1000 * n, "hostPortEnd": 1000 * n + 9} for n in range(1, 9)]
    entries = of("CNI-HOSTPORT-DNAT", planned(mappings=mappings))
    ports = [entry.partition("--destination-ports ")[2] for entry in entries]
    assert [text.count(":") for text in ports] == [7, 1]


def test_hairpin_and_localhost_are_marked_before_the_translation():
    first, second, last = map(without_comment, of(CHAIN, planned()))
    assert first == f"-A {CHAIN} -s 10.0.0.2/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK"
    assert second.startswith(f"-A {CHAIN} -s 127.0.0.1/32 ")
    assert last.endswith("--dport 8080 -j DNAT --to-destination 10.0.0.2:80")


def test_ipv6_has_no_localhost_rule_and_brackets():
    lines = of(CHAIN, planned(ip="fd00::2/64"))
    assert len(lines) == 2
    assert lines[-1].endswith("--to-destination [fd00::2]:80")


def test_masq_all_marks_everything_once():
    lines = of(CHAIN, planned(masqAll=True))
    assert [line.split()[3] for line in lines if "SETMARK" in line] == ["0.0.0.0/0"]


def test_without_snat_nothing_is_marked():
    lines = planned(snat=False, masqAll=True)
    assert not [line for line in lines if "MARK" in line or "MASQ" in line]


def test_a_host_ip_is_matched_in_the_containers_chain():
    lines = of(CHAIN, planned(mappings=[{"hostIP": "192.0.2.1"}]))
    assert all(" -d 192.0.2.1 " in line for line in lines)


def test_conditions_stand_before_the_jump():
    (entry,) = of("CNI-HOSTPORT-DNAT", planned(conditionsV4=["!", "-s", "192.0.2.9"]))
    assert entry.endswith(f" ! -s 192.0.2.9 -j {CHAIN}")


def test_the_mark_bit_is_chosen():
    assert any(line.endswith("--set-xmark 0x1/0x1") for line in planned(markMasqBit=0))
    assert any("--mark 0x80000000/0x80000000" in line for line in planned(markMasqBit=31))


def test_a_foreign_mark_chain_is_used_instead_of_ours():
    lines = planned(["-N KUBE-MARK-MASQ"], externalSetMarkChain="KUBE-MARK-MASQ")
    assert sum(line.endswith("-j KUBE-MARK-MASQ") for line in lines) == 2
    assert not [line for line in lines if "CNI-HOSTPORT-SETMARK" in line]


def test_a_foreign_mark_chain_must_exist():
    with pytest.raises(ConfigError) as error:
        planned(externalSetMarkChain="KUBE-MARK-MASQ")
    assert "KUBE-MARK-MASQ does not exist" in error.value.msg


def test_a_range_with_equal_ports_is_one_rule():
    lines = of(CHAIN, planned(mappings=[{"containerPort": 8080, "hostPortEnd": 8090}], snat=False))
    assert len(lines) == 1
    assert lines[0].endswith("--dport 8080:8090 -j DNAT --to-destination 10.0.0.2")


def test_a_shifted_range_is_a_rule_for_each_port():
    lines = of(CHAIN, planned(mappings=[{"hostPortEnd": 8082}], snat=False))
    assert [line.rpartition(":")[2] for line in lines] == ["80", "81", "82"]


def listed_again(lines):
    return [line for line in lines if line.startswith("-A")]


def test_a_repeated_add_replaces_its_own_rules():
    listed = listed_again(planned())
    again = planned(listed)
    gone = {line for line in again if line.startswith("-D")}
    assert gone == {"-D" + line[2:] for line in of(CHAIN, listed) + of("CNI-HOSTPORT-DNAT", listed)}


def test_rules_of_the_containers_other_interface_stay():
    listed = listed_again(planned(attachment=OWN._replace(ifname="eth1")))
    assert not [line for line in planned(listed) if line.startswith(("-D", "-F", "-X"))]


def _foreign(network="web", container="two", ip="10.0.0.3", port=8080, local=""):
    note = f'-m comment --comment "dnat name: \\"{network}\\" id: \\"{container}\\""'
    return [
        f"-N {OTHER}",
        f"-A CNI-HOSTPORT-DNAT -p tcp {note} -m multiport --dports {port} -j {OTHER}",
        f"-A {OTHER} {local}-p tcp -m tcp --dport {port} -j DNAT --to-destination {ip}:80",
    ]


def test_a_dead_container_of_the_network_loses_its_reused_address():
    lines = planned(_foreign(ip="10.0.0.2"))
    assert f"-X {OTHER}" in lines


def test_another_network_with_the_same_address_is_left_alone():
    assert f"-X {OTHER}" not in planned(_foreign(network="else", ip="10.0.0.2"))


def test_an_occupied_port_is_told_with_its_owner(capfd):
    planned(_foreign())
    assert "host port 8080/tcp is published by two of network web" in capfd.readouterr().err


def test_an_occupied_port_fails_where_that_is_asked_for():
    with pytest.raises(ConfigError) as error:
        planned(_foreign(), portConflict="fail")
    assert "published by two of network web" in error.value.msg


@pytest.mark.parametrize(
    "free", [_foreign(port=8081), _foreign(local="-d 192.0.2.7/32 "), _foreign()]
)
def test_a_port_of_another_address_or_protocol_is_free(free, capfd):
    protocol = "udp" if free == _foreign() else "tcp"
    planned(free, mappings=[{"hostIP": "192.0.2.1", "protocol": protocol}])
    assert capfd.readouterr().err == ""
