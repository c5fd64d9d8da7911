# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What 127.0.0.11 answers, asked and read by dnspython; and that no bytes at all make it raise or babble."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vitrine.network import resolver

pytest.importorskip("dns", reason="needs dnspython")
import dns.edns  # noqa: E402
import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.name  # noqa: E402
import dns.opcode  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rdatatype  # noqa: E402
import dns.reversename  # noqa: E402
import dns.rrset  # noqa: E402

ID = "0123456789abcdef" * 4


def entry(name, *addresses, aliases=(), hostname="", identity=None):
    return {
        "name": name,
        "id": identity or (name.encode().hex() + "0" * 64)[:64],
        "hostname": hostname,
        "aliases": list(aliases),
        "addresses": list(addresses),
    }


FRONT = resolver.Zone(
    "front",
    [
        entry("web", "10.1.0.2", "fd00::2", hostname="Web-Host", aliases=["www", "API"], identity=ID),
        entry("web2", "10.1.0.3", aliases=["www", "shop.example.com"]),
        entry("my.dotted", "10.1.0.4"),
    ],
)
BACK = resolver.Zone("back.end", [entry("web", "10.2.0.2"), entry("db", "10.2.0.9", "fd01::9")])
FAR = resolver.Zone("far", [entry("secret", "10.3.0.2", "fd03::2", aliases=["www.example.com", "hidden"])])


def scope(zones=(FRONT, BACK), others=(FAR,), **how):
    return resolver.Scope(zones, lambda: others, **how)


def query(name, kind="A", **how):
    return dns.message.make_query(name, kind, **how)


def ask(name, kind="A", *, within=None, limit=None, **how):
    """The answer as dnspython understands it; None when it is to be asked elsewhere."""
    message = query(name, kind, **how)
    parsed, at_once = resolver.parse(message.to_wire())
    assert at_once is None
    answer = (within or scope()).answer(parsed, limit)
    if answer is None:
        return None
    decoded = dns.message.from_wire(answer)
    assert message.is_response(decoded)
    assert decoded.flags & dns.flags.RA
    return decoded


def values(answer):
    return sorted(item.to_text() for rrset in answer.answer for item in rrset)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["web", "WEB", "web.front", "Web.Front.", ID[:12], "web-host", "api", "api.front"])
def test_a_container_is_found_by_all_its_names(name):
    answer = ask(name)
    assert values(answer) == ["10.1.0.2"]
    assert values(ask(name, "AAAA")) == ["fd00::2"]
    assert values(ask(name, "ANY")) == ["10.1.0.2", "fd00::2"]
    assert answer.answer[0].ttl == resolver.TTL


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.back.end", ["10.2.0.2"]),  # not the one of the first network
        ("db", ["10.2.0.9"]),
        ("my.dotted", ["10.1.0.4"]),
        ("my.dotted.front", ["10.1.0.4"]),
        ("shop.example.com", ["10.1.0.3"]),  # an alias may be one of the world's names
    ],
)
def test_networks_and_dotted_names(name, expected):
    assert values(ask(name)) == expected


def test_an_alias_of_several_is_dealt_out_evenly():
    firsts = {ask("www").answer[0][0].to_text() for _ in range(64)}
    assert firsts == {"10.1.0.2", "10.1.0.3"}
    assert values(ask("www")) == ["10.1.0.2", "10.1.0.3"]


@pytest.mark.parametrize("kind", ["AAAA", "TXT", "MX", "HTTPS", "SRV", "NS", "PTR"])
def test_what_a_name_does_not_have_is_no_data_and_asked_nowhere(kind):
    answer = ask("web2", kind)
    assert answer.rcode() == dns.rcode.NOERROR and not answer.answer


def test_a_network_that_has_the_type_answers_for_one_that_has_not():
    front = resolver.Zone("front", [entry("db", "10.1.0.9")])
    assert values(ask("db", "AAAA", within=scope((front, BACK)))) == ["fd01::9"]


def test_reverse():
    for address, expected in (("10.1.0.2", "web.front."), ("fd00::2", "web.front."), ("10.2.0.9", "db.back.end.")):
        answer = ask(dns.reversename.from_address(address), "PTR")
        assert values(answer) == [expected]
    for name in ("9.9.9.9.in-addr.arpa", "in-addr.arpa", "1.in-addr.arpa", "x.0.1.10.in-addr.arpa", "f.ip6.arpa"):
        assert ask(name, "PTR") is None


def test_the_world_is_asked_elsewhere():
    for name in ("example.com", "www.example.com", "nosuch", "web.other", ".", "www.front.example"):
        assert ask(name) is None, name
    assert ask("web", "A", rdclass="CH") is None


@pytest.mark.parametrize("name", ["secret", "Hidden", "secret.far"])
def test_names_of_other_networks_stay_on_this_host(name):
    for kind in ("A", "AAAA", "TXT", "HTTPS"):
        answer = ask(name, kind)
        assert answer.rcode() == dns.rcode.NXDOMAIN and not answer.answer
    for address in ("10.3.0.2", "fd03::2"):
        assert ask(dns.reversename.from_address(address), "PTR").rcode() == dns.rcode.NXDOMAIN


def test_an_internal_network_asks_nobody():
    for name in ("example.com", "nosuch", "secret", "9.9.9.9.in-addr.arpa"):
        for kind in ("A", "PTR", "TXT"):
            assert ask(name, kind, within=scope(internal=True)).rcode() == dns.rcode.SERVFAIL
    assert values(ask("web", within=scope(internal=True))) == ["10.1.0.2"]


def test_a_dot_inside_a_label_is_no_dot_between_labels():
    name = dns.name.Name([b"web.front", b""])
    assert ask(name) is None


# -- EDNS, sizes -----------------------------------------------------------------------------------------------------

MANY = resolver.Zone("many", [entry(f"c{n}", f"10.9.{n // 250}.{n % 250}", aliases=["all"]) for n in range(600)])


def test_edns_is_answered_with_edns_and_else_not():
    plain = ask("web")
    assert plain.edns == -1
    asked = ask("web", use_edns=0, payload=1400, want_dnssec=True)
    assert asked.edns == 0 and asked.payload == resolver.MAX_UDP
    assert asked.ednsflags & dns.flags.DO
    cookie = dns.edns.GenericOption(10, b"12345678")
    assert values(ask("web", use_edns=0, options=[cookie])) == ["10.1.0.2"]


def test_an_unknown_version_of_edns_is_told_so():
    parsed, at_once = resolver.parse(query("web", use_edns=1).to_wire())
    assert parsed is None
    assert dns.message.from_wire(at_once).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize(("how", "limit"), [({}, 512), ({"use_edns": 0, "payload": 1232}, 1232)])
def test_a_long_answer_is_cut_at_a_record_and_says_so(how, limit):
    answer = ask("all", within=scope((MANY,)), **how)
    assert answer.flags & dns.flags.TC
    size = len(answer.to_wire())
    assert limit - 16 < size <= limit
    whole = ask("all", within=scope((MANY,)), limit=resolver.MAX_TCP, **how)
    assert not whole.flags & dns.flags.TC and len(values(whole)) == 600


def test_a_client_does_not_make_us_send_more_than_we_mean_to():
    parsed, _at_once = resolver.parse(query("all", use_edns=0, payload=65000).to_wire())
    assert len(scope((MANY,)).answer(parsed)) <= resolver.MAX_UDP
    parsed, _at_once = resolver.parse(query("all", use_edns=0, payload=0).to_wire())
    assert parsed.limit == 512


# -- what is not a query ---------------------------------------------------------------------------------------------


def at_once(packet):
    parsed, answer = resolver.parse(packet)
    assert parsed is None
    return answer


def test_answers_and_stumps_are_not_answered():
    wire = query("web").to_wire()
    for size in range(12):
        assert resolver.parse(wire[:size]) == (None, None)
    assert resolver.parse(dns.message.make_response(query("web")).to_wire()) == (None, None)


def test_other_operations_and_broken_queries_are_told_so():
    wire = query("web").to_wire()
    update = bytearray(wire)
    update[2] |= dns.opcode.UPDATE << 3
    assert dns.message.from_wire(at_once(bytes(update)), ignore_trailing=True).rcode() == dns.rcode.NOTIMP
    pointer = wire[:12] + b"\xc0\x0c\0\1\0\1"
    long_label = wire[:12] + b"\x40" + b"a" * 64 + b"\0\0\1\0\1"
    long_name = wire[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1"
    two = wire[:4] + b"\0\2" + wire[6:] + wire[12:]
    none = wire[:4] + b"\0\0" + wire[6:12]
    extra = wire[:10] + b"\0\1" + wire[12:]  # says that there is one
    for packet in (wire[:-1], wire + b"\0", pointer, long_label, long_name, two, none, extra):
        answer = dns.message.from_wire(at_once(packet))
        assert answer.rcode() == dns.rcode.FORMERR
        assert answer.id == int.from_bytes(wire[:2], "big") and not answer.question


LABEL = st.binary(min_size=1, max_size=63)


@given(st.binary(max_size=600))
@example(b"\0\1\1\0\0\1\0\0\0\0\0\1" + b"\3web\0\0\1\0\1" + b"\0\0\x29\xff\xff\0\0\0\0\0\0")
def test_any_bytes_get_a_whole_answer_or_none(packet):
    parsed, answer = resolver.parse(packet)
    if parsed is not None:
        answer = scope().answer(parsed) or resolver.reply(parsed, resolver.SERVER_FAILURE)
    if answer is not None:
        decoded = dns.message.from_wire(answer, one_rr_per_rrset=True)
        assert decoded.id == int.from_bytes(packet[:2], "big")
        assert decoded.flags & dns.flags.QR
        assert len(answer) <= max(len(packet), 512)


@given(st.lists(LABEL, max_size=4), st.sampled_from([1, 12, 28, 255, 65, 0, 65535]), st.data())
def test_mutilated_queries_too(labels, kind, data):
    wire = bytearray(query(dns.name.Name([*labels, b""]), kind, use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(0, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    test_any_bytes_get_a_whole_answer_or_none.hypothesis.inner_test(bytes(wire))


# -- what others answered --------------------------------------------------------------------------------------------


def parsed_query(name="Example.com", kind="A", **how):
    parsed, _at_once = resolver.parse(query(name, kind, **how).to_wire())
    return parsed


def upstream(parsed, count=1, *, identity=7, name="example.com", edns=False):
    asked = dns.message.from_wire(resolver.renamed(parsed, identity))
    response = dns.message.make_response(asked, recursion_available=True)
    response.answer.append(
        dns.rrset.from_text(f"{name}.", 60, "IN", "A", *[f"192.0.2.{n}" for n in range(1, count + 1)])
    )
    if edns:
        response.use_edns(0, payload=1232)
    else:
        response.use_edns(-1)
    return response.to_wire(max_size=65535)


def test_an_answer_from_upstream_goes_to_who_asked():
    parsed = parsed_query()
    wire = upstream(parsed)
    assert resolver.valid(parsed, 7, wire)
    answer = dns.message.from_wire(resolver.relay(parsed, wire))
    assert answer.id == parsed.identity and values(answer) == ["192.0.2.1"]
    assert resolver.relay(parsed, wire)[12 : parsed.end] == parsed.packet[12 : parsed.end]


def test_an_answer_to_another_question_is_none():
    parsed = parsed_query()
    wire = upstream(parsed)
    assert not resolver.valid(parsed, 8, wire)
    assert not resolver.valid(parsed_query("example.org"), 7, wire)
    assert not resolver.valid(parsed_query(kind="AAAA"), 7, wire)
    assert not resolver.valid(parsed, 7, resolver.renamed(parsed, 7))  # our own question, sent back
    for size in range(len(wire)):
        assert not resolver.valid(parsed, 7, wire[:size])


def test_an_upstream_that_spells_the_name_anew_is_believed():
    parsed = parsed_query()
    assert resolver.valid(parsed, 7, upstream(parsed).replace(b"Example", b"eXAMPLE"))


@pytest.mark.parametrize("edns", [False, True])
def test_a_long_answer_from_upstream_is_cut_for_who_cannot_take_it(edns):
    parsed = parsed_query()
    wire = upstream(parsed, 100, edns=edns)
    assert resolver.valid(parsed, 7, wire)
    cut = resolver.relay(parsed, wire)
    answer = dns.message.from_wire(cut)
    assert len(cut) <= 512 and answer.flags & dns.flags.TC
    assert len(values(answer)) == (512 - parsed.end - (11 if edns else 0)) // 16
    assert answer.edns == (0 if edns else -1)
    whole = dns.message.from_wire(resolver.relay(parsed, wire, resolver.MAX_TCP))
    assert len(values(whole)) == 100 and not whole.flags & dns.flags.TC


def test_what_upstream_cut_in_the_middle_of_a_record_is_mended():
    parsed = parsed_query()
    wire = bytearray(upstream(parsed, 4)[:-5])
    wire[2] |= 0x02
    assert resolver.valid(parsed, 7, bytes(wire))
    answer = dns.message.from_wire(resolver.relay(parsed, bytes(wire)))
    assert len(values(answer)) == 3 and answer.flags & dns.flags.TC


@given(st.binary(max_size=700), st.booleans())
def test_any_bytes_from_upstream_are_refused_or_passed_on_whole(tail, plausible):
    parsed = parsed_query()
    head = struct.pack(">H", 7) + b"\x81\x80\0\1"
    response = head + tail[:6].ljust(6, b"\0") + parsed.packet[12 : parsed.end] + tail[6:] if plausible else tail
    if resolver.valid(parsed, 7, response):
        relayed = resolver.relay(parsed, response)
        assert len(relayed) <= 512
        assert struct.unpack_from(">H", relayed)[0] == parsed.identity
