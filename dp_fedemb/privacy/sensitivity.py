"""What one privacy unit can change in a round: the two sensitivities.

A sampler states which of these a user causes; a mechanism turns it into noise over
sensitivity. Neither is ever typed by a caller. A record is the clipped update of one
virtual client.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RecordChange:
    """Greatest change of one round's sums between neighbouring data sets.

    Attributes:
        update: L2 change of the sum of clipped updates, in units of the clip norm C.
        count: change of the number of unclipped records, each counted as +1/2 or -1/2
            (Andrew et al. 2019, arXiv 1905.03871, section 3), for adaptive clipping.
    """

    update: float
    count: float


# The record disappears with its user: both of its terms do.
REMOVED = RecordChange(update=1.0, count=0.5)
# The record stays but becomes the zero update. The count of 1 holds however that is
# counted; `aggregation` counts it as 0, a change of 1/2.
EMPTIED = RecordChange(update=1.0, count=1.0)
# The record becomes another: from one end of the ball of radius C to the other.
REPLACED = RecordChange(update=2.0, count=1.0)
