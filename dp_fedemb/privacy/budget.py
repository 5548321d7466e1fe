"""The budget of a store: the most that all releases from its users may cost together."""

from collections.abc import Callable
import math
import pathlib
from typing import Optional

from dp_fedemb import files
from dp_fedemb import validate
from dp_fedemb.privacy import ledger
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import rounding


def check(
    store: files.PathLike, budget_epsilon: float, plan: plan_lib.PrivacyPlan, run: str = ''
) -> None:
    """Refuses a run whose plan does not fit into what is left of a store's budget.

    What other runs mean to release is taken as released.

    Args:
        store: the store's directory.
        budget_epsilon: most that all releases from these users may cost together.
        plan: of the run.
        run: the run's name in the ledger, if it is there already and goes on.

    Raises:
        ValueError: in one line, if it does not fit, or if nobody can tell.
    """
    _check(ledger.read(store), store, budget_epsilon, plan, run)


def begin(
    store: files.PathLike,
    entry: ledger.Entry,
    budget_epsilon: Optional[float] = None,
    *,
    plan: plan_lib.PrivacyPlan,
    check_too: Callable[[ledger.Ledger], None] = lambda known: None,
) -> None:
    """Checks the budget and adds the entry of a run that begins, as one step.

    So that of two runs that begin at once only one gets what is left.

    Args:
        store: the store's directory.
        entry: see `ledger.append`.
        budget_epsilon: most that all may cost together; None for any.
        plan: of the run.
        check_too: what else is looked for in the same step.

    Raises:
        ValueError: see `check`; nothing is written then.
    """

    def fits(known: ledger.Ledger) -> None:
        if budget_epsilon is not None:
            _check(known, store, budget_epsilon, plan, entry.run)
        check_too(known)

    ledger.append(store, entry, fits)


def _check(
    known: ledger.Ledger,
    store: files.PathLike,
    budget: float,
    plan: plan_lib.PrivacyPlan,
    run: str,
) -> None:
    validate.positive(budget_epsilon=budget)
    where = str(pathlib.Path(store) / ledger.LEDGER)
    if known.problems:
        raise ValueError(
            f'budget_epsilon={budget:g}: {where} is not as it was written'
            f' ({"; ".join(known.problems)}), so nobody can tell what is left; restore it'
            ' from a copy, or train without a budget'
        )
    epsilon, _ = known.spent(without=run)
    taken = epsilon + known.reserved(without=run)
    # A plan without noise, or a simulated one, has no epsilon for this run.
    own = math.inf if plan.hypothetical else plan.epsilon()
    if taken + own > budget:
        left = max(budget - taken, 0.0)
        raise ValueError(
            f'budget_epsilon={budget:g}: the releases in {where} cost'
            f' {rounding.text(taken)} (with what unfinished runs mean to spend) and this'
            f' run {rounding.text(own)}; {left:.3f} is left: set target_epsilon to at most'
            ' that, or train on other users'
        )
