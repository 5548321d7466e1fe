"""In which rounds a user can take part, as a schedule bounds it."""

import dataclasses

from dp_fedemb import validate


@dataclasses.dataclass(frozen=True)
class ParticipationSchedule:
    """Rounds in which the users of an epoch schedule can take part.

    Epochs of `epoch` rounds consist of windows of `window` rounds (the last one may
    be shorter). A user belongs to one window and takes part in exactly one of its
    rounds in every epoch. With `window` = 1 the user's rounds are fixed (cyclic).
    Nothing here depends on data.
    """

    epoch: int
    window: int = 1

    def __post_init__(self) -> None:
        validate.positive(epoch=self.epoch, window=self.window)
        if self.window > self.epoch:
            raise ValueError(
                f'window={self.window}: expected at most epoch={self.epoch} rounds'
            )

    @property
    def min_separation(self) -> int:
        """Least difference between the numbers of two rounds of the same user."""
        return self.epoch - self.window + 1

    def most(self, rounds: int) -> int:
        """Returns the most rounds out of the first `rounds` that a user is in."""
        return -(-rounds // self.epoch)
