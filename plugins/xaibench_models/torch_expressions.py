"""The sizes that a ``torch.export`` file keeps as text: torch's loader evaluates them, so they are read first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_LONGEST = 20_000  # characters
_DEEPEST = 60  # nested operations
_LARGEST = 1 << 63
_HIGHEST_POWER = 16
_HIGHEST_NESTED_POWER = 256
_SYMBOL = re.compile(r"[A-Za-z]\w{0,30}", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,40}(\.\d{0,40})?(e[+-]?\d{1,3})?", re.ASCII)
_ASSUMPTIONS = frozenset(
    ["integer", "positive", "negative", "nonnegative", "nonzero", "real", "finite", "extended_real", "commutative"]
)
_FUNCTIONS = frozenset(
    [
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Abs",
        "Integer",
        "Rational",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "Not",
        "And",
        "Or",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "Mod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "LShift",
        "RShift",
        "PowByNatural",
        "FloatPow",
        "FloatTrueDiv",
        "IntTrueDiv",
        "IsNonOverlappingAndDenseIndicator",
        "TruncToFloat",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "ToFloat",
        "Identity",
        "floor",
        "ceiling",
    ]
)
_POWERS = ("Pow", "PowByNatural", "FloatPow", "LShift")
_SIZES = ("size", "stride", "storage_offset")
_GUARD_FUNCTIONS = frozenset(
    ["max", "min", "abs", "math.trunc", "math.floor", "math.ceil", "math.sqrt", "torch.sym_float", "torch.sym_int"]
)
_GUARD_FUNCTIONS |= frozenset(["torch.sym_max", "torch.sym_min", "torch.sym_not", "torch.sym_ite", "torch._sym_sqrt"])
_PLAIN = (
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.UnaryOp, ast.USub, ast.UAdd,
    ast.Not, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Load,
    ast.Expression,
)  # fmt: skip


def is_arithmetic(text: str) -> bool:
    """Whether ``text`` is made of symbols, numbers, arithmetic and comparisons, in sympy's own notation or in Python's.

    ``Symbol('s0', integer=True)`` and ``Float('0.5')`` are the only places where a string may stand.
    """
    tree = _parsed(text)
    if tree is None or _depth(tree) > _DEEPEST:
        return False
    return all(_is_term(node) for node in _terms(tree)) and _power(tree) <= _HIGHEST_NESTED_POWER


def is_guard(text: str) -> bool:
    """Whether ``text`` compares sizes of inputs: :func:`is_arithmetic` over ``L['x'].size()[0]`` and the like."""
    tree = _parsed(text)
    if tree is None or _depth(tree) > _DEEPEST:
        return False
    return (
        all(_is_term(node) or _is_part_of_guard(node) for node in ast.walk(tree))
        and _power(tree) <= _HIGHEST_NESTED_POWER
    )


def _parsed(text: str) -> ast.Expression | None:
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        return None
    try:
        return ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _depth(tree: ast.AST) -> int:
    depth, level = 0, [tree]
    while level and depth <= _DEEPEST:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _terms(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree but for the insides of a well-formed ``Symbol(...)`` and the names of functions."""
    queue = [tree]
    while queue:
        node = queue.pop()
        yield node
        if isinstance(node, ast.Call):
            queue += [] if _is_leaf(node) else node.args
        else:
            queue += ast.iter_child_nodes(node)


def _is_term(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and abs(value) < _LARGEST
        case ast.Name(id=name):
            return _SYMBOL.fullmatch(name) is not None
        case ast.BinOp(op=ast.Pow(), right=exponent):
            return _is_small(exponent)
        case ast.Call():
            return _is_leaf(node) or _is_function(node)
    return isinstance(node, _PLAIN)


def _is_function(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Name) or call.func.id not in _FUNCTIONS or call.keywords:
        return False
    return call.func.id not in _POWERS or (len(call.args) == 2 and _is_small(call.args[1]))


def _is_small(exponent: ast.expr) -> bool:
    """Whether an exponent is a small number: a tower of powers is a number that never ends."""
    match exponent:
        case ast.Constant(value=int() | float() as value):
            return abs(value) <= _HIGHEST_POWER
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _is_small(operand)
        case ast.Call(func=ast.Name(id="Integer" | "Rational"), args=args):
            return all(_is_small(argument) for argument in args)
    return False


def _power(node: ast.AST) -> float:
    """The product of the exponents that stand within each other, at its largest."""
    inner = max((_power(child) for child in ast.iter_child_nodes(node)), default=1)
    match node:
        case ast.BinOp(op=ast.Pow(), right=exponent) | ast.Call(func=ast.Name(id="Pow" | "PowByNatural" | "FloatPow"),
                                                                args=[_, exponent]):  # fmt: skip
            values = (n.value for n in ast.walk(exponent) if isinstance(n, ast.Constant))
            return inner * max((abs(v) for v in values if isinstance(v, int | float)), default=1)
    return inner


def _is_leaf(call: ast.Call) -> bool:
    """Whether a call is ``Symbol('s0', integer=True)`` or ``Float('0.5', precision=53)``, well-formed."""
    match call:
        case ast.Call(func=ast.Name(id="Float"), args=[ast.Constant(value=str(digits))], keywords=keywords):
            return _DIGITS.fullmatch(digits) is not None and all(
                k.arg in ("precision", "dps") and isinstance(k.value, ast.Constant) and k.value.value in range(1, 129)
                for k in keywords
            )
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))], keywords=keywords):
            return _SYMBOL.fullmatch(name) is not None and all(
                k.arg in _ASSUMPTIONS and isinstance(k.value, ast.Constant) and type(k.value.value) is bool
                for k in keywords
            )
    return False


def _is_part_of_guard(node: ast.AST) -> bool:
    match node:
        case ast.Subscript(
            value=ast.Name(id="L") | ast.Subscript() | ast.Call(), slice=ast.Constant(value=str() | int())
        ):
            return True
        case ast.Constant(value=str(name)):
            return name.isidentifier() and name.isascii()
        case ast.Call(func=ast.Attribute(value=ast.Subscript(), attr=name), args=arguments, keywords=[]):
            return name in _SIZES and not arguments
        case ast.Call(func=function, keywords=[]):
            return ast.unparse(function) in _GUARD_FUNCTIONS
        case ast.Attribute(value=value, attr=name):
            return name in _SIZES if isinstance(value, ast.Subscript) else ast.unparse(node) in _GUARD_FUNCTIONS
    return False
