# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials: found where docker and podman keep them, written as docker does, shown to nobody."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import DependencyMissing, HostError, InvalidInput, Unauthorized
from vitrine.linux import command
from vitrine.registry import auth

SECRET = "s3cret:with:colons"


def encoded(user: str, password: str) -> dict:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path, document) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


@pytest.mark.parametrize("key", ["reg.example:5000", "https://reg.example:5000", "http://reg.example:5000/v2/"])
def test_entries_are_found_however_they_are_spelt(home, key):
    write(home / ".docker/config.json", {"auths": {"other": encoded("x", "y"), key: encoded("me", SECRET)}})
    found = auth.find("reg.example:5000")
    assert (found.user, found.password) == ("me", SECRET)
    assert auth.find("reg.example") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"])
def test_the_hub_has_many_names(home, key):
    write(home / ".docker/config.json", {"auths": {key: encoded("me", "x")}})
    assert auth.find("docker.io").user == "me"


def test_a_key_with_a_path_is_not_the_whole_registry(home):
    auths = {"quay.io/org": encoded("org", "x"), "quay.io/org/app": encoded("app", "x"), "quay.io": encoded("all", "x")}
    write(home / ".config/containers/auth.json", {"auths": auths})
    assert auth.find("quay.io", "org/app").user == "app"
    assert auth.find("quay.io", "org/other").user == "org"
    assert auth.find("quay.io", "organ/app").user == "all"
    del auths["quay.io"]
    write(home / ".config/containers/auth.json", {"auths": auths})
    assert auth.find("quay.io", "else/app") is None and auth.find("quay.io") is None


def test_files_are_asked_in_order(home, tmp_path, monkeypatch):
    places = [
        tmp_path / "named.json",
        tmp_path / "docker" / "config.json",
        tmp_path / "xdg/containers/auth.json",
        home / ".config/containers/auth.json",
    ]
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(places[0]))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for number, place in reversed(list(enumerate(places))):
        write(place, {"auths": {"r.example": encoded(str(number), "x")}})
        assert auth.find("r.example").user == str(number)
        assert str(place) in auth.find("r.example").source


def test_identity_tokens_and_user_names_apart_are_understood(home):
    auths = {
        "a.example": {"identitytoken": "tok", **encoded("me", "")},
        "b.example": {"username": "u", "password": "p"},
    }
    write(home / ".docker/config.json", {"auths": auths})
    assert auth.find("a.example").identity_token == "tok"
    assert (auth.find("b.example").user, auth.find("b.example").password) == ("u", "p")


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        {"auths": []},
        {"auths": {"r.example": {"auth": "not base64!"}}},
        {"auths": {"r.example": {"auth": 5}}},
        {"credsStore": "../../bin/sh"},
        {"credHelpers": {"r.example": 5}},
    ],
)
def test_a_damaged_file_is_named_and_never_overwritten(home, document):
    path = write(home / ".docker/config.json", document)
    before = (home / ".docker/config.json").read_bytes()
    with pytest.raises(InvalidInput):
        auth.find("r.example")
    if document != {"auths": {"r.example": {"auth": 5}}} and "not base64" not in str(document):
        with pytest.raises(InvalidInput):
            auth.store("r.example", auth.Credentials("u", "p"), path)
        assert (home / ".docker/config.json").read_bytes() == before


def test_what_is_stored_is_found_and_the_rest_of_the_file_stays(home):
    config = home / ".docker/config.json"
    path = write(config, {"HttpHeaders": {"a": "b"}, "auths": {"https://r.example/v1/": encoded("old", "x"), "s": {}}})
    assert auth.store("r.example", auth.Credentials("me", SECRET), path) is True
    assert auth.store("r.example", auth.Credentials("me", SECRET), path) is False
    document = json.loads(config.read_text())
    assert document["HttpHeaders"] == {"a": "b"} and document["auths"] == {"s": {}, "r.example": encoded("me", SECRET)}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert auth.find("r.example").password == SECRET
    assert auth.logout("https://r.example/") is True and auth.logout("r.example") is False
    assert auth.find("r.example") is None and json.loads(config.read_text())["HttpHeaders"] == {"a": "b"}


def test_the_hub_is_stored_under_dockers_key_in_a_new_file(home):
    assert auth.store("docker.io", auth.Credentials("me", "x"))
    assert list(json.loads((home / ".docker/config.json").read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert stat.S_IMODE(os.stat(home / ".docker").st_mode) == 0o700
    assert auth.find("docker.io").user == "me"
    assert auth.logout("") is True


def test_a_link_to_the_file_stays_a_link(home, tmp_path):
    real = write(tmp_path / "elsewhere.json", {})
    (home / ".docker").mkdir()
    (home / ".docker/config.json").symlink_to(real)
    auth.store("r.example", auth.Credentials("me", "x"))
    assert (home / ".docker/config.json").is_symlink() and "r.example" in json.loads(
        (tmp_path / "elsewhere.json").read_text()
    )["auths"]


user_names = st.text(st.characters(blacklist_characters=":\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)
passwords = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=8)


@settings(deadline=None)  # the machine may be busy
@given(user_names, passwords)
def test_any_password_reads_back(tmp_path_factory, user, password):
    path = str(tmp_path_factory.mktemp("auth") / "config.json")
    auth.store("r.example", auth.Credentials(user, password), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_AUTH_FILE", path)
        found = auth.find("r.example")
    assert (found.user, found.password) == (user, password)


def test_a_password_shows_in_no_text_of_ours():
    assert SECRET not in repr(auth.Credentials("me", SECRET)) and "Basic" not in repr(auth.Credentials("me", SECRET))


# -- helpers: a real program is run --------------------------------------------------------------------------------

HELPER = """#!/usr/bin/python3
import json, os, sys
path = {path!r}
known = json.load(open(path)) if os.path.exists(path) else {{}}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text not in known:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps({{"ServerURL": text, **known[text]}}))
elif sys.argv[1] == "store":
    item = json.loads(text)
    known[item["ServerURL"]] = {{"Username": item["Username"], "Secret": item["Secret"]}}
elif sys.argv[1] == "erase":
    del known[text]
json.dump(known, open(path, "w"))
"""


@pytest.fixture
def helper(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker-credential-fake"
    program.write_text(HELPER.format(path=str(tmp_path / "keychain.json")))
    program.chmod(0o755)
    monkeypatch.setattr(command, "SEARCH_PATH", f"{folder}:{command.SEARCH_PATH}")
    return tmp_path / "keychain.json"


def test_a_helper_keeps_what_docker_would_give_it(home, helper):
    config = home / ".docker/config.json"
    write(config, {"credsStore": "fake"})
    assert auth.find("r.example") is None
    assert auth.store("r.example", auth.Credentials("me", SECRET)) is True
    assert auth.store("r.example", auth.Credentials("me", SECRET)) is False
    assert SECRET not in config.read_text()
    assert auth.find("r.example").password == SECRET
    assert auth.logout("r.example") is True and json.loads(helper.read_text()) == {}


def test_a_helper_is_asked_for_its_registries_only(home, helper):
    helper.write_text(json.dumps({"r.example": {"Username": "<token>", "Secret": "tok"}}))
    write(
        home / ".docker/config.json", {"credHelpers": {"r.example": "fake"}, "auths": {"s.example": encoded("s", "x")}}
    )
    assert auth.find("r.example").identity_token == "tok"
    assert auth.find("s.example").user == "s"


def test_a_helper_that_is_missing_or_broken_is_named(home, helper):
    write(home / ".docker/config.json", {"credsStore": "absent", "auths": {"s.example": encoded("s", "x")}})
    with pytest.raises(DependencyMissing, match="docker-credential-absent.*take it out of .*config.json"):
        auth.find("r.example")
    assert auth.find("s.example").user == "s"
    helper.write_text("broken")
    write(home / ".docker/config.json", {"credsStore": "fake"})
    with pytest.raises(HostError, match="docker-credential-fake"):
        auth.find("r.example")


# -- login ---------------------------------------------------------------------------------------------------------


def test_login_verifies_before_it_writes(fake, home):
    expected = auth.Credentials("me", SECRET).basic

    def root(handler):
        if handler.headers.get("Authorization") == expected:
            handler.answer(200, {}, b"{}")
        else:
            handler.answer(
                401, {"WWW-Authenticate": 'Basic realm="x"'}, b'{"errors": [{"message": "bad credentials"}]}'
            )

    fake.routes["GET", "/v2/"] = root
    with pytest.raises(Unauthorized, match="bad credentials") as caught:
        auth.login(fake.host, "me", "wrong-password")
    assert "wrong-password" not in str(caught.value) and not (home / ".docker/config.json").exists()
    assert auth.login(fake.host, "me", SECRET, check=True) is True
    assert not (home / ".docker/config.json").exists()
    assert auth.login(f"http://{fake.host}/v2/", "me", SECRET) is True
    assert auth.login(fake.host, "me", SECRET) is False
    assert auth.find(fake.host).password == SECRET


@pytest.mark.parametrize("user", ["", "a:b", "a\0"])
def test_login_refuses_impossible_users(user):
    with pytest.raises(InvalidInput):
        auth.login("r.example", user, "x")
