"""Which page a family is on, and how it becomes another: the links between the families' pages and the relations'."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from plain_text import escape

from unigen.errors import NotFittedError, UnsupportedQueryError
from unigen.relations.relation import Relation, all_relations
from unigen.study.table import smallest

ANY = "Program"  # a relation of every program is on every page


class Page(NamedTuple):
    """A page in ``docs/families``: its title, the programs on it, and what it is in a line."""

    title: str
    programs: tuple[str, ...]
    what: str


PAGES = {
    "pca": Page("Principal component analysis", ("PCA",), "a plane through the data, no density"),
    "ppca": Page("Probabilistic PCA", ("PPCA",), "linear decoder, one noise for all features"),
    "factor_analysis": Page("Factor analysis", ("FactorAnalysis",), "linear decoder, a noise a feature"),
    "mixture": Page("Mixtures", ("GaussianMixture", "Mixture"), "a discrete latent, summed out"),
    "vae": Page("Variational autoencoder", ("VAE", "LadderVAE"), "a network as decoder, one as posterior"),
    "vqvae": Page("Vector-quantised autoencoder", ("VQVAE",), "discrete codes under any prior"),
    "flow": Page(
        "Normalizing flows",
        ("FlowProgram", "Flow", "NICE", "RealNVP", "NSF", "MAF", "IAF", "Glow"),
        "an invertible map to noise",
    ),
    "cnf": Page("Continuous normalizing flow", ("CNF",), "an ordinary differential equation to noise"),
    "autoregressive": Page(
        "Autoregressive models", ("MADE", "PixelCNN", "Transformer"), "a product of conditionals"
    ),
    "gan": Page("Generative adversarial networks", ("GAN", "WGAN"), "draws alone, trained by a critic"),
    "energy": Page("Energy-based models", ("EnergyModel",), "any network, at the price of log Z"),
    "rbm": Page("Boltzmann machines", ("RBM", "Ising"), "an energy with conditionals that factorise"),
    "diffusion": Page("Diffusion", ("Diffusion", "DDPM"), "noise added, and the way back learned"),
    "flow_matching": Page("Flow matching", ("FlowMatching",), "a flow trained by regression"),
    "schroedinger_bridge": Page(
        "Schrödinger bridge", ("SchroedingerBridge",), "the closest process between two data sets"
    ),
    "latent_sde": Page(
        "Latent SDE and ODE", ("LatentSDE", "LatentODE"), "a hidden process in continuous time"
    ),
    "state_space": Page(
        "State-space models",
        ("StateSpace", "HiddenMarkov", "DeepMarkov"),
        "a hidden Markov process in discrete time",
    ),
}

# Families that a theorem speaks of besides those it is measured on, which are its ``families``.
ALSO = {
    2: ("PPCA",),  # the spectrum that decides is PPCA's
    4: ("VAE", "VQVAE", "Ising"),  # the bound of a product, a network and a point mass
    11: ("CNF",),
    13: ("LadderVAE",),
    23: ("RBM", "FlowProgram"),  # both are energies; a flow's log Z is 0
    31: ("PPCA", "FactorAnalysis", "GaussianMixture", "VAE"),  # by EM steps, and by gradient
}


class Conversion(NamedTuple):
    """A conversion that a theorem licenses; what it needs of the program, or None."""

    start: str
    to: str
    needs: str | None


def page_of(family: str) -> str | None:
    """Return the page of a program; None for what is said of every program."""
    return next((page for page, each in PAGES.items() if family in each.programs), None)


def pages_of(relation: Relation) -> list[str]:
    """Return the pages of a relation's families, each once."""
    names = (*relation.families, *ALSO.get(relation.id, ()))
    return list(dict.fromkeys(page for each in names if (page := page_of(each))))


def file_of(relation: Relation) -> str:
    """Return the name of a relation's page: that of the file in which it is written."""
    return type(relation).__module__.rpartition(".")[2]


def family_links(names: Sequence[str], folder: str) -> str:
    """Return links to families, from a page in another folder."""
    links = []
    for name in names:
        page = page_of(name)
        shown = {"FlowProgram": "any flow", ANY: "every program"}.get(name, f"`{name}`")
        links.append(shown if page is None else f"[{shown}]({folder}{page}.md)")
    return ", ".join(links)


@functools.cache
def conversions(relation: Relation) -> list[Conversion]:
    """Return what a relation converts, tried on small programs: it does, or says what it needs."""
    if type(relation).convert is Relation.convert:
        return []
    found = []
    for start in relation.families:
        for to in relation.families:
            if start == to:
                continue
            try:
                relation.convert(smallest(start), to=to)
            except NotFittedError:
                found.append(Conversion(start, to, "a fitted program"))
            except UnsupportedQueryError as error:
                needs = error.message.partition(" needs: ")[2]
                if needs:  # else no such conversion
                    found.append(Conversion(start, to, needs.partition("\n")[0]))
            else:
                found.append(Conversion(start, to, None))
    return found


def becomes(page: str, relations: Sequence[Relation] | None = None) -> str:
    """Return the list "How it becomes another" of a family's page."""
    relations = all_relations() if relations is None else relations
    here = [each for each in relations if page in pages_of(each)]
    lines = []
    for each in (each for each in here if len(pages_of(each)) > 1):
        others = [f"[{PAGES[other].title}]({other}.md)" for other in pages_of(each) if other != page]
        line = f"* {' and '.join(others)}, by {_link(each, '../')}: {escape(each.statement)}."
        for start, to, _ in conversions(each):
            if page_of(start) == page:
                line += f' `ug.convert(program, to="{to}")`.'
        lines.append(line)
    alone = [
        f"* {_link(each, '../')}: {escape(each.statement)}." for each in here if len(pages_of(each)) == 1
    ]
    if alone:
        lines += ["", "Of this family alone:", "", *alone]
    everywhere = [_link(each, "../") for each in relations if ANY in each.families and each not in here]
    lines += ["", f"Of every program: {', '.join(everywhere)}."]
    return "\n".join(lines)


def _link(relation: Relation, up: str) -> str:
    return f"[{relation.id} {escape(relation.name)}]({up}relations/{file_of(relation)}.md)"


def family_grid(relations: Sequence[Relation] | None = None) -> str:
    """Return the table of the first page: each family, and the families it becomes with the theorems that say so."""
    relations = all_relations() if relations is None else relations
    lines = ["| family | what it is | becomes, by theorem |", "|---|---|---|"]
    for page, (title, _, what) in PAGES.items():
        lines.append(f"| [{title}](families/{page}.md) | {what} | {_neighbours(page, relations)} |")
    return "\n".join(lines)


def _neighbours(page: str, relations: Sequence[Relation]) -> str:
    """Return the families linked to one, each with the numbers of the theorems, linked; else its own theorems."""
    found: dict[str, list[str]] = {}
    alone = [f"[{each.id}](relations/{file_of(each)}.md)" for each in relations if pages_of(each) == [page]]
    for each in relations:
        if page in pages_of(each):
            for other in pages_of(each):
                if other != page:
                    found.setdefault(other, []).append(f"[{each.id}](relations/{file_of(each)}.md)")
    return "; ".join(f"{PAGES[other].title} {', '.join(links)}" for other, links in found.items()) or (
        f"by itself {', '.join(alone)}"
    )


def family_substitutions() -> dict[str, str]:
    """Return the substitutions of the families' pages and of the first page."""
    return {"family_grid": family_grid()} | {f"becomes_{page}": becomes(page) for page in PAGES}
