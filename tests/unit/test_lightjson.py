# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lightjson gives what the module json gives, whichever half of it is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine import lightjson

ENGINE = Path(lightjson.__file__).parents[1]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture(params=["c", "python"])
def half(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(lightjson, "make_scanner", None)


@given(VALUES)
def test_what_json_writes_is_read_and_the_other_way_round(value):
    assert lightjson.dumps(value) == json.dumps(value)
    assert lightjson.dumps(value, separators=(",", ":"), sort_keys=True) == json.dumps(
        value, separators=(",", ":"), sort_keys=True
    )
    assert lightjson.loads(json.dumps(value, indent=1)) == value
    assert lightjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value


@given(st.text(alphabet='{}[]",:\\u0123456789aeflnrstNI.+- \n') | st.text())
def test_what_json_refuses_is_refused(text):
    try:
        wanted = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            lightjson.loads(text)
    else:
        assert repr(lightjson.loads(text)) == repr(wanted)


@pytest.mark.usefixtures("half")
def test_both_halves():
    assert lightjson.loads(b' {"a": [1, 2.5, "\xc3\xa9"]}\n') == {"a": [1, 2.5, "é"]}
    assert lightjson.dumps({"b": "é", "a": None}, sort_keys=True) == '{"a": null, "b": "\\u00e9"}'
    assert lightjson.dumps({1: {2}}, default=list) == '{"1": [2]}'
    for bad in ("", "  ", "{", '{"a": 1} x', '"\n"', b"\xff"):
        with pytest.raises(ValueError):
            lightjson.loads(bad)
    with pytest.raises(TypeError):
        lightjson.dumps({"a": object()})


def test_it_imports_neither_re_nor_enum():
    program = "import sys; sys.path.insert(0, sys.argv[1]); from vitrine import lightjson as j; j.loads(j.dumps([1]))"
    program += "; sys.exit(not {'re', 'enum', 'json'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", program, str(ENGINE)]).returncode == 0


@pytest.mark.parametrize("text", ['{"a', "{", "[1,", '"\\u12"', '{"a" 1}', "nul", ""])
def test_what_json_refuses_is_refused_where_json_was_never_loaded(text):
    code = (
        "import sys; from vitrine import lightjson\ntry: lightjson.loads(sys.argv[1])\nexcept ValueError: sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, text], env={"PYTHONPATH": str(ENGINE)})
    assert done.returncode == 7
