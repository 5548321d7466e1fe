"""One-run audits of a training by canaries of either variant."""

from collections.abc import Callable
import pathlib
import tempfile

import numpy as np

from dp_fedemb import privacy
from dp_fedemb.auditing import estimators
from dp_fedemb.auditing import training as training_lib
from dp_fedemb.auditing.canaries import updates
from dp_fedemb.auditing.canaries import users as users_lib
from dp_fedemb.auditing.estimators import f_dp
from dp_fedemb.auditing.estimators import guessing
from dp_fedemb.auditing.mechanism import audit as audit_lib
from dp_fedemb.data import store as store_lib

UPDATES = 'updates'
KINDS = (UPDATES, *users_lib.KINDS)


def audit(
    store: store_lib.UserStore,
    training: training_lib.Training,
    plan: Callable[[int], privacy.PrivacyPlan],
    *,
    kind: str = UPDATES,
    canaries: int = 1000,
    most_users: int = 1000,
    confidence: float = 0.95,
    generator: np.random.Generator,
) -> dict[str, list[audit_lib.Bound]]:
    """Trains once with canaries, and estimates epsilon from how well they are told.

    Args:
        store: real users.
        training: how.
        plan: from a number of users, canaries among them, to the plan.
        kind: one of `KINDS`.
        canaries: how many; each is a user.
        most_users: most real users.
        confidence: of each lower bound.
        generator: of canaries and bits; the run's seed is of the operating system.

    Returns:
        What the attacker sees -> bounds.

    Raises:
        ValueError: for updates as canaries where there is no clip or no noise.
    """
    if kind == UPDATES:
        updates.check(training.settings)
    with tempfile.TemporaryDirectory(prefix='audit-') as folder:
        path = pathlib.Path(folder) / 'store'
        if kind == UPDATES:
            together = updates.add_places(store, path, canaries, most_users)
            run = privacy.PrivateRun.start(plan(together.num_users))
            if not run.plan.private:
                raise ValueError(
                    f'canaries=updates with mechanism={run.plan.mechanism.name}: without clip'
                    ' and noise a canary is of any length; choose gaussian, or canary users'
                )
            size = sum(spec.shape.num_elements() for spec in training.model.record_specs())
            drawn = updates.Canaries.draw(canaries, size, generator)
            scores = updates.scores(training, run, together, drawn)
            bits = drawn.bits
        else:
            people, together = users_lib.CanaryUsers.write(
                store, path, kind, canaries, most_users, generator
            )
            run = privacy.PrivateRun.start(plan(together.num_users))
            before, after = None, None
            for weights in training.releases(run, together):
                before = weights if before is None else before
                after = weights
            assert before is not None and after is not None
            scores = {updates.FINAL_MODEL: people.scores(training, before, after)}
            bits = people.bits
    claim = estimators.Claim.of_plan(run.plan)
    return {
        seen: [
            audit_lib.Bound(
                run.plan.rounds, 'user', each.estimate(values, bits, claim, confidence)
            )
            for each in (f_dp, guessing)
        ]
        for seen, values in scores.items()
    }
