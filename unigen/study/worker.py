"""The work of one study process: fit one row, score it, draw from it; or measure one relation."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.data.dataset import Dataset
from unigen.data.digits import digits
from unigen.errors import NoDensityError, UnigenError, UnsupportedQueryError
from unigen.evaluate.classifier_two_sample import classifier_test
from unigen.evaluate.permutation import median_distance
from unigen.evaluate.processes import process
from unigen.evaluate.two_sample import mmd, sliced_wasserstein
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.logprob import Mean
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Evidence
from unigen.relations.relation import relation
from unigen.study.catalogue import Entry, entry
from unigen.study.process_arrays import to_arrays

CPU = torch.device("cpu")
DIED = "its process died, or that of a row beside it (out of memory?)"
_NOTHING = {"example": {"holds": False, "claims": [], "details": {}}}
SHOWN = 100  # draws kept for the picture
CARRIED = 3  # test images carried to noise
PROCESS = "process_"  # in front of the names of its arrays


@dataclass
class Row:
    """Everything the report says of one fitted program, in plain data."""

    name: str
    family: str = ""
    formula: str = ""
    parameters: int = 0
    fit_seconds: float = 0.0
    stopped: str = ""
    steps: int = 0
    kind: str = "no density"
    nats: float | None = None
    stderr: float | None = None
    bits_per_dim: float | None = None
    scored: int = 0
    why_not: str = ""
    mmd: float | None = None
    sliced_wasserstein: float | None = None
    classifier: float | None = None
    classifier_stderr: float | None = None
    draw_seconds: float | None = None
    draws: int = 0
    note: str = ""
    error: str = ""
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def held_out(data: Dataset) -> Tensor:
    """Return validation and test images together: what draws are compared with."""
    return torch.cat([data.validation, data.test])


def two_sample(row: Row, draws: Tensor, reference: Tensor, seed: int) -> None:
    """Fill in the three measures of distance between draws and held-out images."""
    width = median_distance(reference)  # one bandwidth for all rows
    row.mmd = mmd(draws, reference, bandwidth=width, permutations=0, seed=seed).value
    row.sliced_wasserstein = sliced_wasserstein(draws, reference, seed=seed).value
    found = classifier_test(draws, reference, permutations=0, seed=seed)
    row.classifier, row.classifier_stderr = found.value, found.stderr


def _score(row: Row, program: Program, data: Dataset, what: Entry, quick: bool, seed: int) -> None:
    rows = what.quick_rows if quick and what.quick_rows else data.test.shape[0]
    density = what.quick_density if quick else what.density
    try:
        with seeded(seed, CPU):
            found = program.log_prob(data.test[:rows], density=density)
    except NoDensityError as error:
        row.why_not = str(error)
        return
    mean: Mean = found.mean()
    row.kind, row.nats, row.stderr, row.scored = str(mean.kind), mean.value, mean.stderr, mean.n
    if found.kind.normalised:
        row.bits_per_dim = found.bits_per_dim(levels=data.levels).value


def _pictures(program: Program, data: Dataset, draws: Tensor, seed: int) -> dict[str, np.ndarray]:
    arrays = {"draws": draws[:SHOWN].flatten(1).numpy()}
    try:
        latent = program.encode(data.test)
        labels: Any = data.test_labels
        arrays |= {"latent": latent.numpy(), "labels": labels.numpy()}
        arrays |= {
            "originals": data.test[:10].flatten(1).numpy(),
            "reconstructions": program.decode(latent[:10]).flatten(1).numpy(),
        }
    except UnsupportedQueryError:
        pass
    return arrays | _process(program, data, seed)


def _process(program: Program, data: Dataset, seed: int) -> dict[str, np.ndarray]:
    """Return a few test images carried to noise, and noise to a few draws, as arrays."""
    try:
        found = process(program, data.test, n=CARRIED, steps=4, seed=seed)
    except UnigenError:  # a row stands without this picture
        return {}
    return {PROCESS + name: array for name, array in to_arrays(found).items()}


def fit_row(name: str, out: Path, quick: bool, seed: int) -> dict[str, Any]:
    """Fit, score and draw one row; keep the program and the pictures' arrays under ``out``.

    A failure is reported in the row, not raised: the other rows go on.
    """
    torch.set_num_threads(1)
    what, data = entry(name), digits()
    row = Row(name, note=what.note)
    try:
        with seeded(seed, CPU):
            program = what.build(data.dims)
        shaped = data.reshaped(program.event_shape)
        options: dict[str, Any] = dict(what.fit) | ({"steps": what.quick} if quick and what.quick else {})
        record = fit(program, shaped, seed=seed, progress=False, **options)
        row.family, row.formula = program.name, program.formula
        row.parameters = sum(p.numel() for p in program.parameters())
        row.fit_seconds, row.stopped, row.steps = record.seconds, record.stopped, record.steps
        row.history = record.history
        save(program, out / f"{slug(name)}.safetensors")
        began, row.draws = time.perf_counter(), 500
        draws = program.sample(row.draws, seed=seed)
        row.draw_seconds = time.perf_counter() - began
        arrays: Any = _pictures(program, shaped, draws, seed)
        np.savez(out / f"{slug(name)}.npz", **arrays)
        two_sample(row, draws.flatten(1), held_out(data), seed)
        _score(row, program, shaped, what, quick, seed)
    except Exception as error:  # whatever it is, the other rows go on
        row.error = f"{type(error).__name__}: {error}"
    return asdict(row)


def reference_row(seed: int) -> dict[str, Any]:
    """Return the row of real training images: what a perfect model would reach."""
    data = digits()
    row = Row("Real images", note="training against held-out images: the floor of the distances", draws=500)
    with seeded(seed, CPU):
        chosen = data.train[torch.randperm(data.train.shape[0])[:500]]
    two_sample(row, chosen, held_out(data), seed)
    return asdict(row)


def _stated(number: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what a relation says, before anything is measured."""
    found = relation(number)
    return {
        "id": found.id, "name": found.name, "statement": found.statement, "latex": found.latex,
        "source": found.source, "families": list(found.families), "on": list(names), "error": "",
    }  # fmt: skip


def measure(number: int, names: tuple[str, ...], out: Path, seed: int) -> dict[str, Any]:
    """Return a relation's worked example and its evidence on the fitted rows."""
    torch.set_num_threads(1)
    found, data, result = relation(number), digits(), _stated(number, names)
    with seeded(seed, CPU):
        try:
            result["example"] = plain(found.check())
            programs = [load(out / f"{slug(name)}.safetensors") for name in names]
            result["measured"] = plain(found.check_programs(programs[0], programs[-1], data.test))
        except UnigenError as error:
            result["refused"] = str(error)
        except Exception as error:  # whatever it is, the study goes on
            result["error"] = f"{type(error).__name__}: {error}"
    return _NOTHING | result


def plain(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as plain data."""
    numbers = ("left", "right", "gap", "tolerance", "stderr", "holds")
    claims = [{"text": str(claim), "holds": claim.holds} for claim in evidence.claims]
    details = {name: str(value) for name, value in evidence.details.items()}
    return {name: getattr(evidence, name) for name in numbers} | {"claims": claims, "details": details}


def lost_measure(number: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the relation whose process died before it could say why."""
    return _NOTHING | _stated(number, names) | {"error": DIED}


def lost_row(name: str) -> dict[str, Any]:
    """Return the row whose process died before it could say why."""
    return asdict(Row(name, error=DIED))


def slug(name: str) -> str:
    """Return a row's title as a file name of plain letters, digits and hyphens."""
    plainly = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return "".join(c if c.isalnum() else "-" for c in plainly).strip("-").replace("--", "-")
