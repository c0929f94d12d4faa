"""A program's factorisation as a line of text."""

from __future__ import annotations

from unigen.structure import Site, Structure


def _names(sites: tuple[str, ...] | list[str], limit: int = 4) -> str:
    names = list(sites)
    return ", ".join(names if len(names) <= limit else [*names[: limit - 2], "…", names[-1]])


def _factor(site: Site, given: tuple[str, ...]) -> str:
    head = "p" if site.label is None else f"p_{site.label}"
    return f"{head}({site.name} | {_names(given)})" if given else f"{head}({site.name})"


def describe(
    structure: Structure, conditional: bool = False, posterior: bool = True, label: str | None = None
) -> str:
    """Return the factorisation of model and guide.

    Args:
        structure: The sites and their parents.
        conditional: Whether everything also depends on a context c.
        posterior: Whether there is a guide to show.
        label: Name of the program that is the posterior, if one is.

    Returns:
        Text such as ``p(x, z) = p(x | z) p(z);  q(z | x)``. An unnormalised factor or a part that is a
        program carries its family's name, ``p_NSF(z)``.
    """
    c = ("c",) if conditional else ()
    latents = structure.latents
    bar = " | c" if conditional else ""
    if not latents:
        return (
            f"p(x{bar})"
            if structure.observed.label is None
            else f"p(x{bar}) = {_factor(structure.observed, c)}"
        )
    order = [structure.observed, *reversed(latents)]
    factors = [_factor(site, (*site.parents, *(c if site.conditional else ()))) for site in order]
    if len(factors) > 5:
        factors = [*factors[:2], "…", factors[-1]]
    names = _names([site.name for site in latents])
    model = f"p(x, {names}{bar}) = {' '.join(factors)}"
    q = "q" if label is None else f"q_{label}"
    return f"{model};  {q}({names} | {_names(['x', *c])})" if posterior else model
