# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immutable values with named, typed fields: what ``dataclasses.dataclass(frozen=True)`` gives, without its cost.

Importing ``dataclasses`` and decorating thirty classes takes longer than starting a container's monitor, and both
happen in every command. A ``Record`` reads the annotations of its class once, when the class is made.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(frozen_default=True, kw_only_default=False)
class Record:
    """Base of all records. Fields are the annotated names of the class, in order; a class attribute is a default.

    Records compare and hash by value and refuse assignment. Field values should be immutable (tuples, not lists);
    a mapping field is allowed, but such a record cannot be hashed.
    """

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [name for name in cls.__dict__.get("__annotations__", {}) if not name.startswith("_")]
        cls._fields = cls._fields + tuple(name for name in own if name not in cls._fields)

    def __init__(self, *args: Any, **fields: Any) -> None:
        cls = type(self)
        if len(args) > len(cls._fields):
            raise TypeError(f"{cls.__name__} takes {len(cls._fields)} values, {len(args)} were given")
        for name, value in zip(cls._fields, args):
            if name in fields:
                raise TypeError(f"{cls.__name__} got {name!r} twice")
            fields[name] = value
        state = self.__dict__
        for name in cls._fields:
            if name in fields:
                state[name] = fields.pop(name)
            elif hasattr(cls, name):
                state[name] = getattr(cls, name)
            else:
                raise TypeError(f"{cls.__name__} needs a value for {name!r}")
        if fields:
            raise TypeError(f"{cls.__name__} has no field {sorted(fields)[0]!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: use replace({name}=...)")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.__dict__[name] for name in self._fields)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which the named fields have other values."""
        return type(self)(**{**self.__dict__, **changes})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, in order (a shallow copy)."""
        return {name: self.__dict__[name] for name in self._fields}
