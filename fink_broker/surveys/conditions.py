"""Conditions in SQL that can be worked out without Spark too: what was cut is counted anew from the files, by the same text.

Understood are columns, numbers, texts, ``+ - * / %``, ``abs``, ``startswith``, comparisons, ``between``, ``in``,
``is null``, ``and``, ``or``, ``not``:
with the meaning that Spark gives them, missing values and NaN included.
"""

from __future__ import annotations

import ast
import contextlib
import math
import re
import struct
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.errors import ConfigError

_TOKEN = re.compile(r"\s*(?:('[^'\\]*')|(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_]\w*(?:\.\w+)*)|(<>|!=|<=|>=|==|[-+*/%()=<>,]))")
_WORDS = {"and": "and", "or": "or", "not": "not", "in": "in", "is": "is", "null": "None", "true": "True", "false": "False"}
_SIGNS = {"=": "==", "<>": "!="}
_ARITHMETIC: dict[type, Callable[..., Any]] = {ast.Add: pc.add, ast.Sub: pc.subtract, ast.Mult: pc.multiply}
_BETWEEN = "between"
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": pc.abs, "startswith": lambda text, begin: pc.starts_with(text, begin.as_py())}
# A text costs more than what it says does for a few alerts.
_text = lru_cache(maxsize=4_096)(ast.unparse)
_COMPARE: dict[type, Callable[..., Any]] = {
    **{ast.Eq: pc.equal, ast.Lt: pc.less, ast.LtE: pc.less_equal, ast.Gt: pc.greater, ast.GtE: pc.greater_equal}
}


class Columns:
    """The columns of a table as doubles or what else they are, and what has been worked out of them: once, whoever needs it.

    Parameters
    ----------
    table : Table, optional
        Without one all is null.
    """

    def __init__(self, table: pa.Table | None = None) -> None:
        self._table = table
        self.known: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        """A column; dots reach into records."""
        if self._table is None:
            return pa.nulls(0)
        if name not in self.known:
            outer, *inner = name.split(".")
            values = self._table[outer].combine_chunks()
            values = pc.struct_field(values, inner) if inner else values
            # As doubles, as Spark compares: a float of 0.7 is less than 0.7.
            number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
            self.known[name] = values.cast(pa.float64()) if number else values
        return self.known[name]


class Condition:
    """A condition on an alert.

    Parameters
    ----------
    sql : str
        Its text.

    Raises
    ------
    ConfigError
        It says something that is not understood here.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        try:
            self._tree = ast.parse(" ".join(_python(sql)), mode="eval").body
            # Whatever is not understood comes out now; of columns whose types are not known yet, Arrow may say what it likes.
            with contextlib.suppress(pa.ArrowException):
                _value(self._tree, Columns())
        except (SyntaxError, KeyError, ConfigError) as error:
            raise ConfigError(
                f"'{sql}' cannot be counted: say it with columns, numbers, comparisons, between, in, is null, abs, and, or, not"
            ) from error

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns; dots reach into records."""
        dotted = [node for node in ast.walk(self._tree) if isinstance(node, ast.Name | ast.Attribute)]
        inner = {id(node.value) for node in dotted if isinstance(node, ast.Attribute)}
        names = [ast.unparse(node) for node in dotted if id(node) not in inner]
        return tuple(dict.fromkeys(name for name in names if name not in (_BETWEEN, *_FUNCTIONS)))

    def holds(self, table: pa.Table, columns: Columns | None = None) -> Any:
        """For each row whether it holds; where it is null it does not.

        Parameters
        ----------
        table : Table
            The columns.
        columns : Columns, optional
            Those of the table, where several conditions share what they have in common.
        """
        met = _value(self._tree, columns or Columns(table))
        if isinstance(met, pa.Scalar):
            met = pc.if_else(pc.is_null(pa.nulls(len(table))), met, met)
        return pc.fill_null(met, scalar(False))


def scalar(value: str | bool | float | None) -> Any:
    """A value in Arrow; None is a number that is missing."""
    return one(value)[0]


def one(value: str | bool | float | None) -> Any:
    """An array of one value. `pyarrow.array` imports pandas, which takes as long as all of `fink status`."""
    match value:
        case None:
            return pa.nulls(1, pa.float64())
        case bool():
            return pa.Array.from_buffers(pa.bool_(), 1, [None, pa.py_buffer(bytes([value]))])
        case str():
            text = value.encode()
            return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(struct.pack("=ii", 0, len(text))), pa.py_buffer(text)])
    return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(struct.pack("=d", value))])


def _value(node: ast.AST, column: Columns) -> Any:
    """What a part of a condition is, for each row."""
    match node:
        case ast.Constant(bool() | str() as constant):
            return scalar(constant)
        case ast.Constant(None | int() | float() as number):
            return scalar(None if number is None else float(number))
        case ast.Name() | ast.Attribute():
            return column(_text(node))
        case ast.BoolOp(operator, parts):
            both = pc.and_kleene if isinstance(operator, ast.And) else pc.or_kleene
            return reduce(both, [_value(part, column) for part in parts])
        case ast.Compare(left, [operator], [right]):
            text = _text(node)
            if text not in column.known:
                column.known[text] = _comparison(_value(left, column), operator, right, column)
            return column.known[text]
    return _calculation(node, column)


def _comparison(left: Any, operator: ast.cmpop, right: ast.expr, column: Columns) -> Any:
    if isinstance(operator, ast.IsNot | ast.NotIn | ast.NotEq):
        opposite = {ast.IsNot: ast.Is(), ast.NotIn: ast.In(), ast.NotEq: ast.Eq()}[type(operator)]
        return pc.invert(_comparison(left, opposite, right, column))
    match operator, right:
        case ast.Is(), ast.Constant(None):
            return pc.is_null(left)
        case ast.In(), ast.Subscript(_, ast.Slice(ast.expr() as low, ast.expr() as high)):
            return pc.and_kleene(_compared(ast.GtE, left, _value(low, column)), _compared(ast.LtE, left, _value(high, column)))
        case ast.In(), _:
            parts = right.elts if isinstance(right, ast.Tuple) else [right]
            texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if len(texts) == len(parts) and isinstance(left, pa.Array | pa.ChunkedArray):
                return pc.if_else(pc.is_null(left), pa.nulls(1, pa.bool_())[0], pc.is_in(left, pa.concat_arrays(list(map(one, texts)))))
            return reduce(pc.or_kleene, [_compared(ast.Eq, left, _value(part, column)) for part in parts])
    return _compared(type(operator), left, _value(right, column))


def _calculation(node: ast.AST, column: Columns) -> Any:
    match node:
        case ast.UnaryOp(ast.Not(), part):
            return pc.invert(_value(part, column))
        case ast.UnaryOp(ast.USub(), part):
            return pc.negate(_value(part, column))
        case ast.Call(ast.Name(name), parts, []):
            return _FUNCTIONS[name](*(_value(part, column) for part in parts))
        case ast.BinOp(left, ast.Div() | ast.Mod() as operator, right):
            return _divided(_value(left, column), _value(right, column), remainder=isinstance(operator, ast.Mod))
        case ast.BinOp(left, operator, right):
            return _ARITHMETIC[type(operator)](_value(left, column), _value(right, column))
    raise ConfigError(ast.dump(node))


def _python(sql: str) -> Iterator[str]:
    """The condition as Python spells it; ``a between x and y`` becomes ``a in between[x:y]``."""
    place, depth = 0, 0
    between: list[tuple[int, bool]] = []
    while sql[place:].strip():
        found = _TOKEN.match(sql, place)
        if found is None:
            raise ConfigError(sql[place:])
        place = found.end()
        text, number, name, sign = found.groups()
        word = (name or "").lower()
        closes = sign == ")" or word in ("and", "or")
        if closes and between and between[-1] == (depth, True):
            between.pop()
            yield "]"
        if word == _BETWEEN:
            between.append((depth, False))
            yield f"in {_BETWEEN}["
        elif word == "and" and between and between[-1] == (depth, False):
            between[-1] = (depth, True)
            yield ":"
        elif text:
            yield repr(text[1:-1])
        elif sign:
            depth += {"(": 1, ")": -1}.get(sign, 0)
            yield _SIGNS.get(sign, sign)
        else:
            yield number or _WORDS.get(word) or (word if word in _FUNCTIONS else name)
    yield from "]" * len(between)


def _compared(operator: type, left: Any, right: Any) -> Any:
    """A comparison as Spark makes it: NaN is equal to itself and above all numbers."""
    result = _COMPARE[operator](left, right)
    if not (pa.types.is_floating(left.type) and pa.types.is_floating(right.type)):
        return result
    if isinstance(right, pa.Scalar) and math.isfinite(right.as_py() or 0):
        return pc.or_kleene(result, pc.is_nan(left)) if operator in (ast.Gt, ast.GtE) else result
    no_number, neither = pc.is_nan(left), pc.is_nan(right)
    either = pc.or_kleene(no_number, neither)
    # Where one of them is NaN the order of (is NaN) is that of the numbers.
    return pc.if_else(either, _COMPARE[operator](no_number.cast(pa.int8()), neither.cast(pa.int8())), result)


def _divided(left: Any, right: Any, *, remainder: bool) -> Any:
    """Quotient or remainder; null for a division by zero."""
    safe = pc.if_else(pc.equal(right, scalar(0.0)), scalar(None), right)
    quotient = pc.divide(left, safe)
    return pc.subtract(left, pc.multiply(pc.trunc(quotient), safe)) if remainder else quotient
