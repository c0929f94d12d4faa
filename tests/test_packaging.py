"""The package as installed: its declarations against what the code does; the oracles are ``ast`` and ``packaging``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "unigen").rglob("*.py"))
PYTHONS = ["3.11", "3.12", "3.13"]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def requirements(*extras: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] + [t for e in extras for t in PROJECT["optional-dependencies"][e]]
    return [Requirement(text) for text in texts]


def constraints(python: str) -> dict[str, Requirement]:
    """The pins that hold for one version of Python, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    held = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(here)]
    names = [canonicalize_name(pin.name) for pin in held]
    assert len(names) == len(set(names)), f"two pins of one package for Python {python}"
    return dict(zip(names, held, strict=True))


def third_party_imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"unigen", "__future__"}


def test_installed_version_is_the_declared_one():
    assert version("unigen") == PROJECT["version"]


def test_changelog_names_the_version():
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_inside_its_range(python):
    pins = constraints(python)
    for requirement in requirements("ot", "metrics", "docs", "dev", "browser"):
        if requirement.name == "unigen":
            continue
        pin = pins[canonicalize_name(requirement.name)]
        (only,) = pin.specifier
        assert only.operator == "==", f"{pin} is not a pin"
        assert requirement.specifier.contains(Version(only.version)), f"{pin} lies outside {requirement}"


def test_arviz_is_pinned_in_both_worlds():
    old, new = (str(constraints(python)["arviz"].specifier) for python in ("3.11", "3.12"))
    assert old.startswith("==0.23")
    assert new.startswith("==1.")


def test_every_import_is_a_declared_dependency():
    declared = {canonicalize_name(r.name) for r in requirements("ot", "metrics")}
    owners = packages_distributions()
    for path in SOURCES:
        for module in third_party_imports(parse(path)):
            distributions = {canonicalize_name(name) for name in owners.get(module, [module])}
            assert distributions & declared, (
                f"{relative(path)} imports {module}, which pyproject.toml does not declare"
            )


def test_no_import_through_a_package():
    """Names come from the file that defines them, so ``from unigen.models import VAE`` is refused inside unigen."""
    packages = {relative(p.parent).replace("/", ".") for p in SOURCES if p.name == "__init__.py"}
    for path in SOURCES:
        if path == ROOT / "unigen" / "__init__.py":
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ImportFrom) and node.module in packages:
                folder = ROOT / node.module.replace(".", "/")
                for alias in node.names:
                    submodule = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
                    assert submodule, (
                        f"{relative(path)}:{node.lineno} imports {alias.name} through {node.module}"
                    )


IMPORT_EVERYTHING = """
import importlib, sys
from torch.distributions import Distribution
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert Distribution._validate_args, f"importing {name} switched off validation in torch.distributions"
"""


def test_every_module_imports_quietly_and_leaves_validation_on():
    """Each module imports with warnings as errors; none leaves torch's validation off, as importing zuko does."""
    names = [relative(p.with_suffix("")).replace("/", ".").removesuffix(".__init__") for p in SOURCES]
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        IMPORT_EVERYTHING,
        *[n for n in names if "__main__" not in n],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_import_is_cheap():
    """``import unigen`` loads no heavy or optional package, and none of the solvers."""
    heavy = {
        "zuko",
        "torchsde",
        "torchdiffeq",
        "sklearn",
        "arviz",
        "matplotlib",
        "ot",
        "torchmetrics",
        "networkx",
    }
    code = (
        "import sys; before = set(sys.modules); import torch, pyro; known = set(sys.modules); import unigen; "
    )
    code += "print(*sorted({name.split('.')[0] for name in set(sys.modules) - known}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_wheel_holds_every_source_and_the_type_marker(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    copy = tmp_path / "source"  # the build leaves folders behind, so it happens in a copy
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    kept = [p for p in (ROOT / "unigen").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    for path in kept:
        (copy / relative(path)).parent.mkdir(parents=True, exist_ok=True)
        (copy / relative(path)).write_bytes(path.read_bytes())
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(f"unigen-{PROJECT['version']}.dist-info/entry_points.txt").decode()
    assert {relative(path) for path in kept} <= names
    assert "unigen = unigen.cli:app" in entry


# ---------------------------------------------------------------- habits that no linter checks


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, text: list[str]) -> int:
    """Lines of code in the body of a function: its docstring, blank lines and comments do not count."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    lines = (text[n - 1].strip() for n in range(body[0].lineno, (function.end_lineno or 0) + 1))
    return sum(1 for line in lines if line and not line.startswith("#"))


def is_face(tree: ast.Module, package: str) -> bool:
    """Whether an __init__ holds a docstring and, at most, names of its own files, listed in __all__."""
    if ast.get_docstring(tree) is None:
        return False
    for node in tree.body[1:]:
        own = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            (f"{package}.", "__future__")
        )
        listed = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not own and not listed:
            return False
    return True


def test_is_face_tells_a_docstring_from_code():
    assert is_face(
        ast.parse('"""D."""\nfrom unigen.data.digits import digits\n__all__ = ["digits"]'), "unigen.data"
    )
    assert is_face(ast.parse('"""D."""'), "unigen.data")
    assert not is_face(ast.parse("x = 1"), "unigen.data")
    assert not is_face(ast.parse('"""D."""\ndef f(): pass'), "unigen.data")
    assert not is_face(ast.parse('"""D."""\nfrom unigen.nn.mlp import MLP'), "unigen.data")


def test_code_lines_counts_the_body():
    text = (
        'def f(\n    a,\n    b,\n):\n    """D.\n\n    More.\n    """\n    # why\n\n    a += b\n    return a\n'
    )
    (function,) = ast.parse(text).body
    assert code_lines(function, text.splitlines()) == 2


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_house_rules(path):
    text = path.read_text().splitlines()
    tree = parse(path)
    assert path.name != "utils.py", "say what the file is about"
    assert len(text) <= 300, f"{len(text)} lines: split the file"
    if path.name == "__init__.py" and path.parent != ROOT / "unigen":
        package = relative(path.parent).replace("/", ".")
        assert is_face(tree, package), (
            "a package's __init__ holds a docstring and at most names of its own files"
        )
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = code_lines(node, text)
            assert length <= 45, f"{node.name} has {length} lines of code: aim at 40, split it"


def test_no_test_is_skipped_or_expected_to_fail():
    mark = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert not mark.search(path.read_text()), f"{relative(path)} skips or expects failure"
