"""A small language for conditions on records: "similarity >= 0.28 and min(width, height) >= 200".

Python's grammar with comparisons, `and`, `or`, `not`, `in`, + - * / // %, `min`, `max`, names,
numbers, texts and tuples of them; nothing else, and nothing is handed to Python to be run.
"""

import ast
import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prolip.config import ConfigError
from prolip.data.near import unknown

Values = Mapping[str, Any]
Term = Callable[[Values], Any]
MAX_DEPTH = 100  # Of terms inside each other: each takes frames of the stack of any thread.
MAX_LENGTH = 4000  # Characters; Python's parser takes more than it can nest.

COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}


class Lacking(Exception):
    """A record has no value for a name, or one of another kind than the condition needs."""


class Expression:
    """A parsed condition.

    Args:
      text: The condition.
      key: Of the configuration, for messages.

    Attributes:
      names: That it asks for, in order.

    Raises:
      ConfigError: it is no condition, or uses what is not allowed.
    """

    def __init__(self, text: str, key: str = "data.filter"):
        self.text, self._key = text, key
        if len(text) > MAX_LENGTH:
            raise ConfigError(f"{key} has more than {MAX_LENGTH} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._names: dict[str, None] = {}
            self._term = self._compiled(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{key} can't be read: {text!r} ({error})") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names that it asks for, in order."""
        return tuple(self._names)

    def check(self, known: Iterable[str]) -> None:
        """Raises ConfigError that names the nearest known name to an unknown one."""
        listed = list(known)
        for name in self.names:
            if name not in listed:
                raise ConfigError(unknown(name, listed, f"{self._key}: the records have no"))

    def __call__(self, values: Values) -> bool:
        """Whether the condition holds.

        Raises:
          Lacking: a value is missing or of the wrong kind.
        """
        return bool(self.value(values))

    def value(self, values: Values) -> Any:
        """What it comes to: of "0.7 * similarity - uncertainty", a number.

        Raises:
          Lacking: a value is missing or of the wrong kind.
        """
        try:
            return self._term(values)
        except (TypeError, ZeroDivisionError, OverflowError, ValueError) as error:
            raise Lacking(str(error)) from error

    def _compiled(self, node: ast.AST, depth: int = 0) -> Term:
        if depth > MAX_DEPTH:
            raise ConfigError(f"{self._key} has more than {MAX_DEPTH} terms inside each other")
        compiled = functools.partial(self._compiled, depth=depth + 1)
        match node:
            case ast.BoolOp(op=op, values=values):
                return _all_or_any(isinstance(op, ast.And), [compiled(v) for v in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                term = compiled(operand)
                return lambda values: not term(values)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                term = compiled(operand)
                return lambda values: -_number(term(values))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
                return _arithmetic(ARITHMETIC[type(op)], compiled(left), compiled(right))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(op) in COMPARISONS for op in ops
            ):
                terms = [compiled(n) for n in (left, *others)]
                return _comparison([COMPARISONS[type(op)] for op in ops], terms)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
                name in FUNCTIONS and len(args) > 1
            ):
                return _call(FUNCTIONS[name], [compiled(arg) for arg in args])
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                terms = [compiled(element) for element in elements]
                return lambda values: tuple(term(values) for term in terms)
            case ast.Name(id=name):
                self._names[name] = None
                return lambda values: _value(values, name)
            case ast.Constant(value=value) if isinstance(value, int | float | str | bool):
                return lambda values: value
        raise ConfigError(
            f"{self._key} may have comparisons, and, or, not, in, + - * / // %, min, max, names, "
            f"numbers and texts; not {ast.unparse(node)!r}"
        )


def _all_or_any(every: bool, terms: list[Term]) -> Term:
    if every:
        return lambda values: all(term(values) for term in terms)
    return lambda values: any(term(values) for term in terms)


def _arithmetic(operation: Callable[[Any, Any], Any], left: Term, right: Term) -> Term:
    return lambda values: operation(_number(left(values)), _number(right(values)))


def _comparison(operations: list[Callable[[Any, Any], Any]], terms: list[Term]) -> Term:
    def compare(values: Values) -> bool:
        left = terms[0](values)
        for operation, term in zip(operations, terms[1:], strict=True):
            right = term(values)
            if not operation(left, right):
                return False
            left = right
        return True

    return compare


def _call(function: Callable[..., Any], terms: list[Term]) -> Term:
    return lambda values: function(*(term(values) for term in terms))


def _value(values: Values, name: str) -> Any:
    try:
        return values[name]
    except KeyError as error:
        raise Lacking(name) from error


def _number(value: Any) -> Any:
    # A text times a number could be as long as memory.
    if not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} is no number")
    return value
