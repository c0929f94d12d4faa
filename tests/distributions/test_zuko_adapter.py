"""Oracle: the state of torch's base class in a fresh process, before and after the import."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

import unigen

PACKAGE = pathlib.Path(unigen.__file__).parent


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("before", ["True", "False"])
def test_import_leaves_validation_as_it_was(before):
    out = run(
        "from torch.distributions import Distribution as D\n"
        f"D.set_default_validate_args({before})\n"
        "kept = D.__dict__['arg_constraints']\n"
        "import unigen.distributions.zuko_adapter\n"
        "print(D._validate_args, D.__dict__['arg_constraints'] is kept)"
    )
    assert out == f"{before} True"


def test_bad_arguments_are_still_refused_after_the_import():
    out = run(
        "import torch, pyro.distributions as dist, unigen.distributions.flows\n"
        "try:\n    dist.Normal(0.0, -1.0)\n"
        "except ValueError:\n    print('refused')"
    )
    assert out == "refused"


def test_zuko_itself_still_works_with_validation_on():
    out = run(
        "import unigen.distributions.zuko_adapter, zuko, torch\n"
        "flow = zuko.flows.NSF(2)\n"
        "print(tuple(flow().log_prob(flow().sample((3,))).shape), torch.distributions.Distribution._validate_args)"
    )
    assert out == "(3,) True"


def test_a_choice_made_before_is_respected():
    out = run(
        "import zuko, torch\n"
        "import unigen.distributions.zuko_adapter\n"
        "print(torch.distributions.Distribution._validate_args)"
    )
    assert out == "False"


def test_import_of_unigen_does_not_import_zuko():
    assert run("import sys, unigen\nprint('zuko' in sys.modules)") == "False"


def test_only_the_adapter_imports_zuko():
    importers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "zuko" for name in names):
                importers.add(path.relative_to(PACKAGE).as_posix())
    assert importers == {"distributions/zuko_adapter.py"}
