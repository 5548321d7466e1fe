"""The command by which others compute a guarantee again."""

import dataclasses
from typing import Any, Optional

from dp_fedemb.privacy import plan as plan_lib

# Fields of a mechanism that change what is computed from the noise, not what it costs, or
# follow from the others.
_FREE_FIELDS = ('efficient', 'strategy')


def command(plan: plan_lib.PrivacyPlan, rounds: int) -> Optional[str]:
    """Returns a command of bin/privacy.py that prints the guarantee; None if there is none."""
    if not plan.private or rounds == 0:
        return None
    values = {
        'num_users': plan.num_users,
        'virtual_clients_per_round': plan.virtual_clients_per_round,
        'users_per_virtual_client': plan.users_per_virtual_client,
        'rounds': rounds,
        'delta': plan.delta,
        'noise_cohort_size': plan.noise_cohort_size,
    }
    parts: list[tuple[str, Any]] = [('mechanism', plan.mechanism), ('sampling', plan.sampling)]
    for kind, part in parts:
        values[kind] = part.name
        for field in dataclasses.fields(part):
            if field.name not in _FREE_FIELDS:
                values[field.name] = getattr(part, field.name)
    given = [f'--{name}={value}' for name, value in values.items() if value is not None]
    return ' '.join(['bin/privacy.py epsilon', *given])
