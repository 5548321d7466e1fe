"""Runs that would have no epsilon to state, refused before they begin."""

from typing import Optional

from dp_fedemb import privacy
from dp_fedemb.models import embedding_model
from dp_fedemb.runs import starts


def check(
    plan: privacy.PrivacyPlan,
    trained: embedding_model.EmbeddingModel,
    start: Optional[starts.Start],
    required: bool,
) -> None:
    """Raises ValueError where the plan's epsilon would not hold.

    Args:
        plan: of the run.
        trained: what is aggregated.
        start: where the backbone begins; None for fresh weights.
        required: whether a run without an epsilon of its own is refused as well.
    """
    if plan.private and not trained.public_labels:
        raise ValueError(
            'algorithm=fedavg with a label for each of the training identities: the'
            " head's size and everybody's softmax would tell of private users, so no"
            ' epsilon holds; set label_buckets to a public number, or mechanism=none'
        )
    if plan.private and start and start.origin.voids_guarantee:
        raise ValueError(
            f'start: {start.origin.text}, so that what begins there has no epsilon;'
            ' choose a start from public images, or mechanism=none'
        )
    if not required:
        return
    if not plan.private or plan.hypothetical:
        what = 'a simulated deployment' if plan.private else plan.mechanism.name
        raise ValueError(
            f'require_private with {what}: this run would have no epsilon; choose a private'
            ' mechanism without noise_cohort_size, or leave require_private out'
        )
    unstated = [a.data for a in start.origin.ancestors if not a.private] if start else []
    if unstated:
        raise ValueError(
            f'require_private with a start behind which is {unstated[0]}: no sum can be'
            ' stated; choose another start, say that it is public, or leave'
            ' require_private out'
        )


def check_seed(run: privacy.PrivateRun) -> None:
    """Raises ValueError for a seed that can be found by trying."""
    if run.weak_seed:
        raise ValueError(
            'require_private with a seed that can be found by trying: leave it out to get'
            ' one from the operating system'
        )
