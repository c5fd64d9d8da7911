# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver at 127.0.0.11 in a real network namespace, asked by dnspython, with name servers of its own to ask."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from support.traces import until
from vitrine.linux import features
from vitrine.linux import netlink as route
from vitrine.linux.namespaces import inside
from vitrine.network import names
from vitrine.supervise import loop, upstreams
from vitrine.supervise.names import Names

pytest.importorskip("dns", reason="needs dnspython")
import dns.exception  # noqa: E402
import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.query  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rrset  # noqa: E402

FRONT, BACK, FAR = ("1" * 64, "2" * 64, "3" * 64)
ME, OTHER, STRANGER = ("a" * 64, "b" * 64, "c" * 64)
SERVERS = ("192.0.2.53", "192.0.2.54", "192.0.2.55")


class Upstream:
    """A name server of the outside, on one address, by UDP and TCP. seen: the questions that it got."""

    def __init__(self, address, answer):
        self.seen = []
        self._answer = answer
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, 53))
        self._tcp = socket.create_server((address, 53))
        self._over = False
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._datagrams, self._connections)]
        for thread in self._threads:
            thread.start()

    def _reply(self, wire, kind):
        query = dns.message.from_wire(wire)
        self.seen.append((kind, query.question[0].name.to_text(), query.id))
        return self._answer(query, kind)

    def _datagrams(self):
        while True:
            wire, peer = self._udp.recvfrom(4096)
            if self._over:
                return
            for answer in self._reply(wire, "udp"):
                self._udp.sendto(answer, peer)

    def _connections(self):
        while True:
            connection, _peer = self._tcp.accept()
            if self._over:
                return
            wire = connection.recv(4096)[2:]
            for answer in self._reply(wire, "tcp"):
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
            connection.close()

    def close(self):
        """Wake the threads, and close what they use only when they are gone."""
        self._over = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._udp.getsockname())
        socket.create_connection(self._tcp.getsockname()).close()
        for thread in self._threads:
            thread.join(10)
        self._udp.close()
        self._tcp.close()


def address(text, count=1):
    def answer(query, _kind):
        response = dns.message.make_response(query, recursion_available=True)
        name = query.question[0].name
        values = [text, *(f"203.0.{n >> 8}.{n & 255}" for n in range(1, count))]
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *values))
        return [response.to_wire(max_size=65535)]

    return answer


def code(value):
    def answer(query, _kind):
        response = dns.message.make_response(query)
        response.set_rcode(value)
        return [response.to_wire()]

    return answer


class Container:
    """A network namespace whose names an attendant answers, on a loop of its own as a monitor has it."""

    def __init__(self, place, run_root, scope):
        self.netns = os.open(place.netns, os.O_RDONLY)
        inside(self.netns, "net", lambda: route.apply([("link_up", "lo")]))
        self.run_root = str(run_root)
        self.run_dir = f"{run_root}/{scope['id']}"
        os.makedirs(self.run_dir, exist_ok=True)
        self.scope = scope
        self.noted = {}
        self.turns = 0
        self._pid = place.process.pid
        self._wake = os.pipe()
        self._loop = loop.Loop()
        self._over = False
        request = {"names": scope, "run_dir": self.run_dir}
        monitor = SimpleNamespace(note=lambda **fields: self.noted.update(fields))
        self.names = Names(request, self._loop, monitor)
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(begun,), daemon=True)
        self._thread.start()
        assert begun.wait(10)

    def _run(self, begun):
        self._loop.watch(self._wake[0], loop.READ, lambda _events: os.read(self._wake[0], 1))
        self.names.begin(SimpleNamespace(pid=self._pid))
        begun.set()
        while not self._over:
            at = self.names.next_ns
            self._loop.turn(max(0, (at - time.monotonic_ns()) // 1_000_000 + 1) if at else None)
            self.turns += 1
            now = time.monotonic_ns()
            if 0 < self.names.next_ns <= now:
                self.names.due(now)
        self.names.end()

    def end(self):
        if not self._over:
            self._over = True
            os.write(self._wake[1], b"x")
            self._thread.join(10)
            assert not self._thread.is_alive()
            for fd in (self.netns, *self._wake):
                os.close(fd)

    def socket(self, kind=socket.SOCK_DGRAM):
        made = []
        inside(self.netns, "net", lambda: made.append(socket.socket(socket.AF_INET, kind)))
        return made[0]

    def ask(self, name, kind="A", *, tcp=False, timeout=3, **how):
        query = dns.message.make_query(name, kind, **how)
        with self.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as made:
            if tcp:
                made.settimeout(timeout)
                made.connect(("127.0.0.11", 53))
                made.setblocking(False)
                return dns.query.tcp(query, "127.0.0.11", timeout, sock=made)
            made.setblocking(False)
            return dns.query.udp(query, "127.0.0.11", timeout, sock=made)

    def values(self, name, kind="A", **how):
        return sorted(item.to_text() for rrset in self.ask(name, kind, **how).answer for item in rrset)


def scope(identity, name, *networks, **how):
    """networks: (id, name, address, aliases...)"""
    listed = [{"id": n[0], "name": n[1], "addresses": [n[2], ""], "aliases": list(n[3:])} for n in networks]
    return {
        "id": identity,
        "name": name,
        "hostname": identity[:12],
        "internal": False,
        "upstreams": [],
        **how,
        "networks": listed,
    }


@pytest.fixture
def servers(world):
    """The servers' addresses; nobody listens there yet."""
    for one in SERVERS:
        route.apply([("addr_add", "lo", f"{one}/32")])


@pytest.fixture
def upstream(servers):
    made = []

    def start(address, answer):
        made.append(Upstream(address, answer))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def container(world, servers, tmp_path):
    made = []

    def start(**how):
        names.publish(
            str(tmp_path), scope(OTHER, "db", (FRONT, "front", "10.1.0.3", "data"), (BACK, "back", "10.2.0.3"))
        )
        names.publish(str(tmp_path), scope(STRANGER, "secret", (FAR, "far", "10.3.0.3")))
        mine = scope(ME, "web", (FRONT, "front", "10.1.0.2", "www"), **{"upstreams": SERVERS[:2], **how})
        made.append(Container(world.place(f"c{len(made)}"), tmp_path, mine))
        return made[-1]

    yield start
    for one in made:
        one.end()


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["nf_tables", "port 53"])
def listening(request):
    if request.param == "port 53":
        features.set_without({"nf_tables"})
    yield request.param
    features.set_without(())


@pytest.mark.parametrize("tcp", [False, True])
def test_names_by_udp_and_tcp(container, listening, tcp):
    one = container()
    assert one.values("db", tcp=tcp) == ["10.1.0.3"]
    assert one.values("DATA.front", tcp=tcp) == ["10.1.0.3"]
    assert one.values("2.0.1.10.in-addr.arpa", "PTR", tcp=tcp) == ["web.front."]
    assert one.noted == {}


def test_a_container_may_have_a_name_server_of_its_own(container):
    one = container()
    with one.socket() as udp, one.socket(socket.SOCK_STREAM) as tcp:
        udp.bind(("0.0.0.0", 53))
        tcp.bind(("0.0.0.0", 53))
        tcp.listen()
        assert one.values("db") == one.values("db", tcp=True) == ["10.1.0.3"]
        with one.socket() as client:
            client.sendto(b"for the container's own", ("127.0.0.1", 53))
        assert udp.recv(100) == b"for the container's own"


def test_who_comes_goes_or_gets_another_name_is_seen_at_once(container):
    one = container()
    assert one.ask("late").rcode() == dns.rcode.SERVFAIL  # there is no server to ask
    root = one.run_root
    names.publish(root, scope(STRANGER, "late", (FRONT, "front", "10.1.0.9", "db")))
    assert one.values("late") == ["10.1.0.9"]
    assert one.values("db") == ["10.1.0.3", "10.1.0.9"]
    names.publish(root, scope(STRANGER, "later", (FRONT, "front", "10.1.0.9")))
    assert one.values("later") == ["10.1.0.9"] and one.values("late") == []
    names.publish(root, scope(STRANGER, "later", (FAR, "far", "10.3.0.9")))
    assert one.values("later") == []
    names.withdraw(root, OTHER)
    assert one.values("db") == []


def test_its_own_networks_and_servers_change_under_it(container, upstream):
    one = container()
    assert one.values("db.back") == []
    names.write_scope(one.run_dir, scope(ME, "web", (BACK, "back", "10.2.0.2"), internal=True))
    assert one.values("db") == ["10.2.0.3"]
    server = upstream(SERVERS[0], address("198.51.100.1"))
    assert one.ask("example.com").rcode() == dns.rcode.SERVFAIL and not server.seen
    changed = scope(ME, "web", (FRONT, "front", "10.1.0.2"), upstreams=SERVERS[:1])
    names.write_scope(one.run_dir, changed)
    assert one.values("example.com") == ["198.51.100.1"]


def test_it_is_found_while_it_runs_and_not_after(container):
    one = container()
    reader = names.Registry(one.run_root)
    assert reader.zone(FRONT, "front").find(b"www") == [socket.inet_aton("10.1.0.2")]
    one.end()
    assert reader.zone(FRONT, "front").find(b"www") is None
    assert os.listdir(f"{one.run_root}/networks/{FRONT}") == [OTHER]


def test_names_of_the_dead_are_swept(container):
    one = container()
    assert names.sweep(one.run_root, {ME, STRANGER}) == [f"the names of {OTHER[:12]}"] * 2
    assert one.values("web") == ["10.1.0.2"] and one.values("db") == []


# -- the rest of the world -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
def test_the_rest_is_asked_of_the_servers(container, upstream, tcp):
    server = upstream(SERVERS[0], address("198.51.100.1"))
    one = container()
    assert one.values("example.com", tcp=tcp) == ["198.51.100.1"]
    assert [kind for kind, *_rest in server.seen] == ["tcp" if tcp else "udp"]
    assert one.names.next_ns == 0 or tcp


def test_nothing_of_our_networks_goes_out(container, upstream):
    server = upstream(SERVERS[0], address("198.51.100.1"))
    one = container()
    for name, kind in (("db", "TXT"), ("secret", "A"), ("secret.far", "AAAA"), ("3.0.3.10.in-addr.arpa", "PTR")):
        assert not one.ask(name, kind).answer
    assert server.seen == []


def test_a_server_that_fails_or_is_not_there_is_followed_by_the_next(container, upstream):
    first = upstream(SERVERS[0], code(dns.rcode.SERVFAIL))
    one = container(upstreams=[SERVERS[2], *SERVERS[:2]])  # nobody listens at the first
    second = upstream(SERVERS[1], address("198.51.100.2"))
    assert one.values("example.com") == ["198.51.100.2"]
    assert len(first.seen) == len(second.seen) == 1
    assert one.values("example.com", tcp=True) == ["198.51.100.2"]


def test_with_no_server_left_the_question_has_failed(container, upstream):
    upstream(SERVERS[0], code(dns.rcode.REFUSED))
    one = container()
    assert one.ask("example.com").rcode() == dns.rcode.SERVFAIL
    assert one.ask("example.com", tcp=True).rcode() == dns.rcode.SERVFAIL


def test_a_silent_server_is_given_up(container, upstream, monkeypatch):
    monkeypatch.setattr(upstreams, "TIMEOUT_NS", 50_000_000)
    silent = upstream(SERVERS[0], lambda _query, _kind: [])
    upstream(SERVERS[1], address("198.51.100.2"))
    one = container()
    assert one.values("example.com") == ["198.51.100.2"]
    assert len(silent.seen) == 1


def test_no_such_name_is_an_answer(container, upstream):
    upstream(SERVERS[0], code(dns.rcode.NXDOMAIN))
    second = upstream(SERVERS[1], address("198.51.100.2"))
    assert container().ask("nosuch.example").rcode() == dns.rcode.NXDOMAIN
    assert second.seen == []


def test_forged_answers_are_not_believed(container, upstream):
    def forger(query, _kind):
        wrong = dns.message.make_response(query)
        wrong.id = query.id ^ 1
        other = dns.message.make_response(dns.message.make_query("example.org", "A", id=query.id))
        return [b"", b"\0" * 5, wrong.to_wire(), other.to_wire(), *address("198.51.100.1")(query, "udp")]

    upstream(SERVERS[0], forger)
    assert container().values("example.com") == ["198.51.100.1"]


def test_ids_and_ports_are_left_to_chance(container, upstream):
    server = upstream(SERVERS[0], address("198.51.100.1"))
    one = container()
    for _ in range(8):
        one.values("example.com", id=7)
    assert len({identity for _kind, _name, identity in server.seen}) > 4


def test_a_long_answer_comes_by_tcp(container, upstream):
    server = upstream(SERVERS[0], address("198.51.100.1", 100))
    one = container()
    assert one.ask("example.com").flags & dns.flags.TC
    assert len(one.values("example.com", tcp=True)) == 100
    assert [kind for kind, *_rest in server.seen] == ["udp", "tcp"]


def test_a_server_on_loopback_that_was_asked_for_is_the_containers_own(container, upstream):
    outside = upstream("127.0.0.1", address("198.51.100.1"))
    one = container(upstreams=["127.0.0.1"])
    assert one.ask("example.com").rcode() == dns.rcode.SERVFAIL
    assert outside.seen == []


def test_the_hosts_servers_are_read_anew_when_they_change(container, upstream, tmp_path, monkeypatch):
    file = tmp_path / "resolv.conf"
    file.write_text("# none yet\n")
    monkeypatch.setattr(upstreams.HostServers.__init__, "__defaults__", (str(file),))
    local = upstream("127.0.0.1", address("198.51.100.3"))
    one = container(upstreams=[])
    assert one.values("example.com") == ["198.51.100.3"] and len(local.seen) == 1
    upstream(SERVERS[2], address("198.51.100.4"))
    file.write_text(f"search example.com\nnameserver {SERVERS[2]}\n")
    assert one.values("example.com") == ["198.51.100.4"]
    file.unlink()
    assert one.values("example.com") == ["198.51.100.4"]


# -- what a container may do to it -----------------------------------------------------------------------------------


def persistently(one, name):
    """As every resolver's client asks: again, when a packet was lost on the way in."""
    for _attempt in range(20):
        try:
            return one.ask(name, timeout=0.2)
        except dns.exception.Timeout:
            pass
    raise AssertionError("no answer")


def test_garbage_and_floods_leave_it_answering(container, upstream):
    upstream(SERVERS[0], lambda _query, _kind: [])
    one = container()
    with one.socket() as flood:
        flood.setblocking(False)
        for number in range(3000):
            query = dns.message.make_query(f"n{number}.example", "A").to_wire()
            for packet in (os.urandom(number % 40), query):
                try:
                    flood.sendto(packet, ("127.0.0.11", 53))
                except BlockingIOError:
                    pass
        assert persistently(one, "db").answer[0][0].to_text() == "10.1.0.3"
        assert persistently(one, "more.example").rcode() == dns.rcode.REFUSED
    one.end()
    assert one.noted == {}


def test_connections_that_are_held_open_hold_up_nobody(container):
    one = container()
    held = []
    for _ in range(40):
        made = one.socket(socket.SOCK_STREAM)
        made.settimeout(3)
        made.connect(("127.0.0.11", 53))
        held.append(made)
    assert one.values("db", tcp=True) == ["10.1.0.3"]
    for made in held:
        made.close()


def test_questions_in_a_row_on_one_connection(container, upstream):
    upstream(SERVERS[0], address("198.51.100.1", 500))
    one = container()
    asked = []
    with one.socket(socket.SOCK_STREAM) as made:
        made.settimeout(5)
        made.connect(("127.0.0.11", 53))
        for number in range(40):
            query = dns.message.make_query("db" if number % 2 else "example.com", "A", id=number)
            wire = query.to_wire()
            asked.append(len(wire).to_bytes(2, "big") + wire)
        sender = threading.Thread(target=lambda: made.sendall(b"".join(asked)))
        sender.start()
        file = made.makefile("rb")
        for number in range(40):
            answer = dns.message.from_wire(file.read(int.from_bytes(file.read(2), "big")))
            assert answer.id == number and len(answer.answer[0]) == (1 if number % 2 else 500)
        sender.join()
        made.sendall(b"\xff\xff too long")
        assert file.read() == b""
        file.close()


def test_it_sleeps_when_nobody_asks(container, upstream):
    upstream(SERVERS[0], address("198.51.100.1"))
    one = container()
    one.values("example.com")
    one.values("db", tcp=True)

    def rests():
        turns = one.turns
        time.sleep(0.3)
        return one.turns == turns

    until(rests)  # the end of a connection is an event of its own
    assert one.names.next_ns == 0
