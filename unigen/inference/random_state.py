"""Every random state a run depends on, captured as tensors and plain values, and put back all at once.

torch draws from one generator per device, Python and NumPy from one each, and a program may own further generators.
A run resumed in a fresh process repeats itself bit for bit only if all of them continue where they stood. Restore them
last: whatever is built or loaded in between (initial weights, shuffled indices) draws from them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import CheckpointError

Generator = torch.Generator | np.random.Generator | random.Random


def capture_random_state(generators: Mapping[str, Generator] | None = None) -> dict[str, Any]:
    """Read the states of torch (CPU, and CUDA once it is in use), Python, NumPy and further generators.

    Nothing is drawn and nothing changes.

    Args:
        generators: The program's own generators by name: torch's, NumPy's or Python's.

    Returns:
        A nested dictionary that :func:`unigen.inference.nested_state.flatten_state` accepts.

    Example:
        >>> state = capture_random_state()
        >>> first = torch.rand(3)
        >>> restore_random_state(state)
        >>> bool((torch.rand(3) == first).all())
        True
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": [state.cpu() for state in cuda],
        "python": _python_state(random.getstate()),
        "numpy": _from_arrays(np.random.get_state(legacy=False)),
        "generators": {name: _capture(name, generator) for name, generator in (generators or {}).items()},
    }


def restore_random_state(
    state: Mapping[str, Any], generators: Mapping[str, Generator] | None = None, *, strict: bool = True
) -> None:
    """Put every random state back, or none of them.

    Each state is first tried on a spare generator, so a damaged one changes nothing.

    Args:
        state: What :func:`capture_random_state` returned.
        generators: The program's own generators, by the names under which they were captured.
        strict: Whether it is an error that the saved CUDA devices or generators are not those present. If not, what
            is present on both sides is restored, and the run is no longer bitwise the one saved.

    Raises:
        CheckpointError: A state is missing or damaged, or (strict) belongs to other devices or generators.

    Example:
        >>> shuffle = torch.Generator().manual_seed(1)
        >>> state = capture_random_state({"shuffle": shuffle})
        >>> order = torch.randperm(5, generator=shuffle)
        >>> restore_random_state(state, {"shuffle": shuffle})
        >>> bool((torch.randperm(5, generator=shuffle) == order).all())
        True
    """
    generators = generators or {}
    saved, cuda = _part(state, "generators", dict), _part(state, "cuda", list)
    if strict:
        _check_same(saved, generators, cuda)
    actions = [
        _torch_action("torch", torch.default_generator, _part(state, "torch", Tensor)),
        _python_action("python", random.Random(), random.setstate, _part(state, "python", dict)),
        _numpy_action(_part(state, "numpy", dict)),
    ]
    if torch.cuda.is_available():
        torch.cuda.init()
        for index, value in enumerate(cuda[: torch.cuda.device_count()]):
            actions.append(_torch_action(f"cuda:{index}", torch.cuda.default_generators[index], value))
    actions += [_action(name, generators[name], saved[name]) for name in generators if name in saved]
    for action in actions:
        action()


def _capture(name: str, generator: Generator) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().cpu()
    if isinstance(generator, np.random.Generator):
        return _from_arrays(dict(generator.bit_generator.state))
    if isinstance(generator, random.Random):
        return _python_state(generator.getstate())
    raise CheckpointError(
        f"'{name}' is no random generator",
        got=type(generator).__name__,
        expected="torch.Generator, numpy.random.Generator or random.Random",
    )


def _action(name: str, generator: Generator, value: Any) -> Callable[[], object]:
    if isinstance(generator, torch.Generator):
        return _torch_action(name, generator, value)
    if isinstance(generator, random.Random):
        return _python_action(name, random.Random(), generator.setstate, value)
    source = generator.bit_generator
    return _tried(
        name, partial(setattr, type(source)(), "state"), partial(setattr, source, "state"), _to_arrays(value)
    )


def _torch_action(name: str, generator: torch.Generator, value: Any) -> Callable[[], object]:
    value = value.cpu() if isinstance(value, Tensor) else value
    return _tried(name, torch.Generator(device=generator.device).set_state, generator.set_state, value)


def _python_action(
    name: str, spare: random.Random, restore: Callable[[Any], object], value: Any
) -> Callable[[], object]:
    try:
        state = (value["version"], tuple(value["words"].tolist()), value["gauss"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, error) from error
    return _tried(name, spare.setstate, restore, state)


def _numpy_action(value: dict[str, Any]) -> Callable[[], object]:
    kind = np.random.get_state(legacy=False)["bit_generator"]
    spare = np.random.RandomState(getattr(np.random, kind)())
    return _tried("numpy", spare.set_state, np.random.set_state, _to_arrays(value))


def _tried(
    name: str, spare: Callable[[Any], object], restore: Callable[[Any], object], value: Any
) -> Callable[[], object]:
    """Set a spare generator to the state, and return what sets the real one."""
    try:
        spare(value)
    except (
        RuntimeError,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
    ) as error:
        raise _damaged(name, error) from error
    return partial(restore, value)


def _python_state(state: tuple[Any, ...]) -> dict[str, Any]:
    version, words, gauss = state
    return {"version": version, "words": torch.tensor(words, dtype=torch.int64), "gauss": gauss}


def _from_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _from_arrays(item) for key, item in value.items()}
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _to_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_arrays(item) for key, item in value.items()}
    return value.cpu().numpy() if isinstance(value, Tensor) else value


def _part(state: Mapping[str, Any], name: str, kind: type) -> Any:
    value = state.get(name)
    if not isinstance(value, kind):
        raise _damaged(name, f"{type(value).__name__} instead of {kind.__name__}")
    return value


def _check_same(saved: Mapping[str, Any], generators: Mapping[str, Generator], cuda: list[Any]) -> None:
    hint = "strict=False to go on with other random numbers"
    if set(saved) != set(generators):
        raise CheckpointError(
            "The random generators are not those saved",
            got=sorted(generators),
            expected=sorted(saved),
            hint=hint,
        )
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cuda and len(cuda) != present:
        raise CheckpointError(
            "The run was saved with another number of CUDA devices",
            got=present,
            expected=len(cuda),
            hint=hint,
        )


def _damaged(name: str, reason: object) -> CheckpointError:
    return CheckpointError(
        f"The random state of '{name}' cannot be restored; none was changed",
        got=reason,
        hint="another checkpoint",
    )
