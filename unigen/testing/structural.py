"""Laws of form: shapes, kinds, gradients, bounds, seeds, copies, sites, refusals."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from unigen.errors import (
    ContextError,
    EmptyDataError,
    NoDensityError,
    NonFiniteError,
    ShapeError,
    UnsupportedQueryError,
)
from unigen.logprob import Kind
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Player
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.elbo_iwae import ELBOtoIWAE
from unigen.testing.case import Case, DoesNotApply, judge, require

BATCHES = (1, 2, 5)


def shapes(case: Case) -> str:
    """Samples, log-probabilities and codes have the right shape and dtype for any batch."""
    program, event = case.program, tuple(case.program.event_shape)
    for n in BATCHES:
        x, c = case.rows(n)
        draws = program.sample(n, c, seed=case.seed)
        require(
            tuple(draws.shape) == (n, *event),
            f"sample({n}) has shape {tuple(draws.shape)}, not {(n, *event)}",
        )
        require(draws.dtype is program.dtype, f"sample has dtype {draws.dtype}, not {program.dtype}")
        require(bool(draws.isfinite().all()), f"sample({n}) is not finite")
        try:
            value = program.log_prob(x, c).value
            require(tuple(value.shape) == (n,), f"log_prob of {n} examples has shape {tuple(value.shape)}")
            require(value.is_floating_point() and not bool(value.isnan().any()), "log_prob is NaN")
        except (NoDensityError, UnsupportedQueryError):
            pass
        try:
            z, site = program.encode(x, c), program.latent
            shape = (n, *next(s.event_shape for s in program.structure.latents if s.name == site))
            require(tuple(z.shape) == shape, f"encode has shape {tuple(z.shape)}, not {shape}")
        except UnsupportedQueryError:
            pass
    return f"batches of {BATCHES}"


def kind(case: Case) -> str:
    """log_prob is of the kind that the program states; an exact one is the same number every time."""
    x, c = case.rows(5)
    try:
        log_p = case.program.log_prob(x, c)
    except (NoDensityError, UnsupportedQueryError) as error:
        raise DoesNotApply(str(error)) from error
    stated = case.program.kind
    require(log_p.kind is stated, f"log_prob is of kind {log_p.kind}, the program says {stated}")
    if log_p.kind is Kind.EXACT:
        again = case.program.log_prob(x, c).value
        require(torch.equal(log_p.value, again), "two evaluations of an exact log_prob differ")
    return str(log_p.kind)


def gradients(case: Case) -> str:
    """The default objective's loss moves every parameter (of a slightly perturbed copy)."""
    twin = copy.deepcopy(case.program)
    wanted = {id(p): name for name, p in twin.named_parameters() if p.requires_grad}
    if not wanted:
        raise DoesNotApply("no parameters")
    _perturb(twin, case.seed)
    objective = twin.objective or ELBO()
    players = objective.players(twin)
    if all(player.update is not None for player in players):
        if twin.kind is not Kind.EXACT:
            raise DoesNotApply(f"{objective} takes no gradient")
        players = MaximumLikelihood().players(twin)
    trained = {id(p) for player in players for p in player.parameters.values()}
    idle = [name for number, name in wanted.items() if number not in trained]
    require(not idle, f"no player trains {', '.join(idle)}")
    still = [f"{player.name} {name}" for player in players for name in _without_gradient(case, twin, player)]
    note = f"; without effect on the loss: {', '.join(still)}" if still else ""
    return f"{len(wanted)} parameters, {len(players)} player(s){note}"


def _without_gradient(case: Case, twin: Program, player: Player) -> list[str]:
    """Return the parameters of a player on which its loss does not depend (a critic's last bias, say)."""

    def loss() -> Tensor:
        with seeded(case.seed, case.x.device):
            return player.loss(case.x, case.context)

    twin.zero_grad()
    player.loss.zero_grad()
    before = loss()
    before.backward()
    still = []
    for name, p in player.parameters.items():
        require(p.grad is not None, f"{player.name}: no gradient reaches {name}")
        require(bool(p.grad.isfinite().all()), f"{player.name}: the gradient of {name} is not finite")
        if float(p.grad.abs().sum()) == 0:
            with torch.no_grad():
                old = p.clone()
                p.add_(0.1)
            moved = abs(float(loss().detach() - before.detach()))
            with torch.no_grad():
                p.copy_(old)
            require(
                moved < 1e-5, f"{player.name}: the gradient of {name} is zero, though the loss depends on it"
            )
            still.append(name)
    return still


@torch.no_grad()
def _perturb(program: Program, seed: int) -> None:
    with seeded(seed, program.device):
        for p in program.parameters():
            p.add_(0.02 * torch.randn_like(p))


def bounds(case: Case) -> str:
    """ELBO ≤ importance-weighted bounds ≤ exact evidence."""
    try:
        with seeded(case.seed, case.x.device):
            return judge(
                list(ELBOtoIWAE().check_programs(case.program, case.program, case.x, case.context).claims)
            )
    except (UnsupportedQueryError, NoDensityError) as error:
        raise DoesNotApply(str(error)) from error


def seeds(case: Case) -> str:
    """A seed reproduces the draws, another gives others, and the global stream is untouched."""
    state = torch.get_rng_state()
    one, two, other = (case.draws(8, seed=s) for s in (0, 0, 1))
    require(torch.equal(one, two), "the same seed gave different draws")
    require(not torch.equal(one, other), "different seeds gave the same draws")
    require(torch.equal(torch.get_rng_state(), state), "sample(seed=…) moved the global random state")
    return "sample(seed=…)"


def copies(case: Case) -> str:
    """A deep copy, and a copy that loads the state dictionary, are the same program under another name."""
    program, twin = case.program, copy.deepcopy(case.program)
    require(twin._pyro_name != program._pyro_name, "the copy has the same name in Pyro's store")
    shared = {id(p) for p in twin.parameters()} & {id(p) for p in program.parameters()}
    require(not shared, "the copy shares parameters")
    _same(case, twin, "a deep copy")
    twin = copy.deepcopy(program)
    _perturb(twin, case.seed)
    twin.sample(2, case.first)  # fills whatever it may cache
    twin.load_state_dict(program.state_dict())
    _same(case, twin, "a copy with the same state dictionary")
    return "deepcopy, state_dict"


def _same(case: Case, twin: Program, what: str) -> None:
    other = Case(twin, case.x, case.context, case.seed)
    require(torch.equal(case.draws(5), other.draws(5)), f"{what} draws other samples")
    x, c = case.rows(5)
    try:
        with seeded(case.seed, x.device):
            ours = case.program.log_prob(x, c).value
        with seeded(case.seed, x.device):
            theirs = twin.log_prob(x, c).value
    except (NoDensityError, UnsupportedQueryError):
        return
    require(torch.equal(ours, theirs), f"{what} has another log_prob")


def sites(case: Case) -> str:
    """Model and guide name the same latent sites, with the same shapes and plates."""
    if not case.program.structure.latents:
        raise DoesNotApply("no latent sites")
    try:
        case.program.check()
    except UnsupportedQueryError as error:
        raise DoesNotApply(str(error)) from error
    return f"{len(case.program.structure.latents)} latent site(s)"


def refusals(case: Case) -> str:
    """Wrong shapes, infinities, no data and a wrong context are refused by typed errors."""
    program, (x, c) = case.program, case.rows(3)
    wide = torch.cat([x, x[..., :1]], -1) if x.dim() > 1 else x[:, None]
    bad = [(wide, c, ShapeError), (x[:0], None if c is None else c[:0], EmptyDataError)]
    bad.append((torch.full_like(x, math.inf), c, NonFiniteError))
    bad.append((x, torch.zeros(3, program.context_features + 1), ContextError))
    bad += [] if c is None else [(x, None, ContextError)]
    for rows, context, error in bad:
        try:
            program.log_prob(rows, context)
        except error as caught:
            require(caught.program, f"{error.__name__} does not name the program")
            continue
        raise AssertionError(f"log_prob took what should raise {error.__name__}")
    return ", ".join(sorted({error.__name__ for *_, error in bad}))
