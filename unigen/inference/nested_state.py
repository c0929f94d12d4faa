"""Nested state as named tensors and strict JSON, and back, exactly and without pickle.

Optimisers, schedulers and averages keep their state in dictionaries of dictionaries, whose keys may be integers and
whose leaves are tensors, numbers, strings and None. JSON alone would turn the key 0 into "0", a tuple into a list and
could not hold an infinity. Whatever JSON lacks is therefore written as an object with one reserved key:

    {"$tensor": name}                      a tensor, stored beside the JSON
    {"$float": "inf" | "-inf" | "nan"}     a float JSON cannot write; all others round-trip by their shortest repr
    {"$tuple": [...]}                      a tuple
    {"$dict": [[key, value], ...]}         a dict with other keys than strings, or with a key that begins with "$"
    {"$ordered": ...}, {"$counter": ...}   collections.OrderedDict and collections.Counter, likewise

Types are kept exactly: True is not 1, 1 is not 1.0. Objects of any other type are refused with the key that holds them.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from unigen.errors import CheckpointError

_MAX_DEPTH = 100
_MAX_BITS = 4096  # Python refuses to parse integers of more than 4300 digits
_MAPPINGS: dict[str, Callable[[Any], Any]] = {"$dict": dict, "$ordered": OrderedDict, "$counter": Counter}
_TAGS = {dict: "$dict", OrderedDict: "$ordered", Counter: "$counter"}
_PLAIN = frozenset({type(None), bool, int, float, str})
_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

_Keep = Callable[[tuple[object, ...], Tensor], str]


def flatten_state(state: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Split a nested state dictionary into named tensors and strict JSON.

    Args:
        state: Dictionaries, lists and tuples of tensors, numbers, strings, booleans and None, nested at will.

    Returns:
        The tensors (references, detached, not copies) by the dotted path of their keys, and the JSON that refers to
        them. Two tensors whose paths read alike are told apart by a suffix.

    Raises:
        CheckpointError: An object of another type (a function, a set, an array), named with its key.

    Example:
        >>> tensors, tree = flatten_state({"best": float("inf"), "betas": (0.9, 0.999), "state": {0: {"step": 3}}})
        >>> tree["best"], tree["betas"]
        ({'$float': 'inf'}, {'$tuple': [0.9, 0.999]})
        >>> unflatten_state(tensors, tree)["state"]
        {0: {'step': 3}}
    """
    tensors: dict[str, Tensor] = {}

    def keep(where: tuple[object, ...], tensor: Tensor) -> str:
        path = ".".join(str(key) for key in where).encode("utf-8", "backslashreplace").decode()
        name, copies = path, 0
        while name in tensors or name == "__metadata__":
            copies += 1
            name = f"{path}~{copies}"
        tensors[name] = tensor.detach()
        return name

    tree = _encode(state, (), keep, "state")
    if not isinstance(state, dict) or not isinstance(tree, dict):
        raise CheckpointError("Only a dictionary can be flattened", got=type(state).__name__, expected="dict")
    return tensors, tree


def unflatten_state(tensors: Mapping[str, Tensor], tree: object) -> dict[Any, Any]:
    """Rebuild the nested state that :func:`flatten_state` took apart.

    Args:
        tensors: The tensors by name; names the JSON does not mention are left aside.
        tree: The JSON that refers to them.

    Returns:
        The state, equal to the one flattened in every key, type and value.

    Raises:
        CheckpointError: The JSON is not of this encoding, or a tensor it refers to is missing.
    """
    state = _decode(tree, tensors, (), "state")
    if not isinstance(state, dict):
        raise CheckpointError(
            "The state's JSON is damaged", got=type(state).__name__, expected="a dictionary"
        )
    return state


def to_json(value: object, name: str = "meta") -> object:
    """Encode a value that holds no tensor as strict JSON.

    Args:
        value: Dictionaries, lists and tuples of numbers, strings, booleans and None.
        name: What error messages call it.

    Returns:
        A value that ``json.dumps(..., allow_nan=False)`` accepts and :func:`from_json` turns back.

    Raises:
        CheckpointError: An object of another type, named with its key.
    """
    return _encode(value, (), None, name)


def from_json(node: object, name: str = "meta") -> Any:
    """Decode what :func:`to_json` made.

    Args:
        node: The JSON, as ``json.loads`` returns it.
        name: What error messages call it.

    Returns:
        The value that was encoded.

    Raises:
        CheckpointError: The JSON is not of this encoding.
    """
    return _decode(node, None, (), name)


def _encode(value: object, where: tuple[object, ...], keep: _Keep | None, name: str) -> object:
    kind = type(value)
    if len(where) > _MAX_DEPTH:
        raise _refused(
            value, where[:6], name, f"is nested deeper than {_MAX_DEPTH} levels, or contains itself", ""
        )
    if value is None or kind is bool or kind is str:
        return value
    if isinstance(value, int) and kind is int:
        if value.bit_length() > _MAX_BITS:
            raise _refused(value, where, name, f"has more than {_MAX_BITS} bits", "keep it as a string")
        return value
    if isinstance(value, float) and kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, list | tuple) and kind in (list, tuple):
        items = [_encode(item, (*where, i), keep, name) for i, item in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if isinstance(value, dict) and kind in _TAGS:
        return _encode_mapping(value, where, keep, name)
    if isinstance(value, Tensor) and keep is not None:
        return {"$tensor": keep(where, value)}
    raise _refused(
        value, where, name, f"is {_described(value)}, which a checkpoint cannot hold", _remedy(value)
    )


def _encode_mapping(
    value: dict[Any, Any], where: tuple[object, ...], keep: _Keep | None, name: str
) -> dict[str, object]:
    if type(value) is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item, (*where, key), keep, name) for key, item in value.items()}
    pairs: list[object] = []
    for key, item in value.items():
        if type(key) not in (str, int, float, bool, tuple) and key is not None:
            raise _refused(
                key, where, name, f"has the key {key!r:.80}, {_described(key)}", "use strings or integers"
            )
        pairs.append([_encode(key, (*where, key), None, name), _encode(item, (*where, key), keep, name)])
    return {_TAGS[type(value)]: pairs}


def _decode(node: object, tensors: Mapping[str, Tensor] | None, where: tuple[object, ...], name: str) -> Any:
    if len(where) > _MAX_DEPTH:
        raise _damaged(where[:6], name, "nested too deep")
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, list):
        if _PLAIN.issuperset(map(type, node)):  # a long history
            return list(node)
        return [_decode(item, tensors, (*where, i), name) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        raise _damaged(where, name, _described(node))
    tag = next((key for key in node if isinstance(key, str) and key.startswith("$")), None)
    if tag is None:
        return {key: _decode(item, tensors, (*where, key), name) for key, item in node.items()}
    content = node[tag]
    if len(node) == 1 and isinstance(content, str):
        if tag == "$float" and content in _NON_FINITE:
            return _NON_FINITE[content]
        if tag == "$tensor" and tensors is not None:
            if content in tensors:
                return tensors[content]
            raise _damaged(where, name, f"it refers to a tensor '{content:.80}' that is not there")
    if len(node) == 1 and isinstance(content, list):
        if tag == "$tuple":
            return tuple(_decode(item, tensors, (*where, i), name) for i, item in enumerate(content))
        if tag in _MAPPINGS:
            return _decode_mapping(tag, content, tensors, where, name)
    raise _damaged(where, name, f"an object with the reserved key '{tag:.80}'")


def _decode_mapping(
    tag: str, pairs: list[Any], tensors: Mapping[str, Tensor] | None, where: tuple[object, ...], name: str
) -> dict[Any, Any]:
    items: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _damaged(where, name, "a dictionary entry that is not a pair")
        key = _decode(pair[0], None, where, name)
        try:
            repeated = key in items
        except TypeError as error:
            raise _damaged(where, name, f"the key {key!r:.80}") from error
        if repeated:
            raise _damaged(where, name, f"the key {key!r:.80} twice")
        items[key] = _decode(pair[1], tensors, (*where, key), name)
    return _MAPPINGS[tag](items)


def _place(where: tuple[object, ...], name: str) -> str:
    return name + "".join(f"[{key!r:.80}]" for key in where)


def _described(value: object) -> str:
    kind = type(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function or class {value.__qualname__}"
    return f"an object of type {kind.__module__}.{kind.__qualname__}"


def _remedy(value: object) -> str:
    if isinstance(value, Tensor):
        return "pass tensors as tensors, or flatten the state with flatten_state"
    if hasattr(value, "dtype"):
        return "make it a number with .item(), or a tensor with torch.as_tensor"
    if callable(value):
        return "leave it out of the state and build it again before the rest is loaded"
    return "turn it into dictionaries, lists, numbers, strings or tensors"


def _refused(value: object, where: tuple[object, ...], name: str, what: str, hint: str) -> CheckpointError:
    return CheckpointError(f"{_place(where, name)} {what}", hint=hint or "save a state without it")


def _damaged(where: tuple[object, ...], name: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{_place(where, name)} is damaged, or was not written by flatten_state", got=found
    )
