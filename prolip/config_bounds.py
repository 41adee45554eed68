"""Bounds that stand beside the fields of a configuration, and the check of all of them."""

import ctypes
import dataclasses
import math
import typing
from typing import Annotated, Any


class ConfigError(ValueError):
    """A configuration that can't be used; the message names the key and what is right."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """Numbers that a field may have; `above` and `below` are not among them."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def check(self, value: Any, path: str) -> None:
        """Raises ConfigError for a number that is out of bounds, as given or in float32."""
        if not self._has(value):
            raise ConfigError(f"{path}: must be {self}, not {value}")
        if isinstance(value, float) and not self._has(in_float32(value)):
            raise ConfigError(
                f"{path}: must be {self}, not {value}, which is {in_float32(value):g} in float32"
            )

    def _has(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        words = {
            "above": self.above,
            "at least": self.least,
            "below": self.below,
            "at most": self.most,
        }
        return " and ".join(f"{word} {limit}" for word, limit in words.items() if limit is not None)


@dataclasses.dataclass(frozen=True)
class Length:
    """The number of values of a tuple."""

    least: int
    most: int | None = None  # None: any number of them.

    def check(self, value: Any, path: str) -> None:
        """Raises ConfigError for a tuple of another length."""
        if self.least <= len(value) and (self.most is None or len(value) <= self.most):
            return
        if not value:
            raise ConfigError(f"{path}: must not be empty")
        count = f"{self.least} values" if self.most == self.least else f"at least {self.least}"
        raise ConfigError(f"{path}: must have {count}, not {len(value)}: {tuple(value)}")


@dataclasses.dataclass(frozen=True)
class Ascending:
    """A tuple whose values don't fall, such as a range."""

    def check(self, value: Any, path: str) -> None:
        """Raises ConfigError where a value is less than the one before it."""
        if list(value) != sorted(value):
            raise ConfigError(f"{path}: must go from the least to the most, not {tuple(value)}")


@dataclasses.dataclass(frozen=True)
class NotAllZero:
    """A tuple of weights, of which at least one counts."""

    def check(self, value: Any, path: str) -> None:
        """Raises ConfigError where all values are zero."""
        if not any(value):
            raise ConfigError(f"{path}: must not all be 0")


Count = Annotated[int, Bound(least=1)]
CountOrZero = Annotated[int, Bound(least=0)]
Positive = Annotated[float, Bound(above=0)]
NotNegative = Annotated[float, Bound(least=0)]
Fraction = Annotated[float, Bound(least=0, most=1)]
Momentum = Annotated[float, Bound(least=0, below=1)]
FractionAboveZero = Annotated[float, Bound(above=0, most=1)]
OrMinusOne = Annotated[int, Bound(least=-1)]  # -1: found out.
Strings = Annotated[tuple[str, ...], Length(least=1)]


def check_bounds(group: Any, path: str = "config") -> None:
    """Checks every field of a configuration dataclass, and of those inside it.

    Raises:
      ConfigError: a number that is out of bounds, infinite or NaN, or a tuple of a wrong length.
    """
    for name, hint in typing.get_type_hints(type(group), include_extras=True).items():
        _check(hint, getattr(group, name), f"{path}.{name}")


def _check(hint: Any, value: Any, path: str) -> None:
    if typing.get_origin(hint) is Annotated:
        base, *bounds = typing.get_args(hint)
        _check(base, value, path)
        for bound in bounds:
            bound.check(value, path)
    elif dataclasses.is_dataclass(value):
        check_bounds(value, path)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            _check(typing.get_args(hint)[0], item, f"{path}[{i}]")
    elif isinstance(value, float) and not math.isfinite(in_float32(value)):
        beyond = ", which is infinite in float32" if math.isfinite(value) else ""
        raise ConfigError(f"{path}: must be a finite number, not {value}{beyond}")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(f"{path}: {value} is too large for a number")


def in_float32(value: float) -> float:
    """The number that a computation in float32 takes for `value`; infinite where it is too large.

    A momentum of 1 - 1e-9 is 1 there, and an epsilon of 1e-60 is 0.
    """
    return ctypes.c_float(value).value
