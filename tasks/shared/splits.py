"""Which part a user or an identity belongs to: a matter of its own name alone.

A threshold on the hash of the name decides, for users and identities apart. Neither the
other names nor who holds what plays a part, so that one user's coming, leaving or
changing moves no other user and none of another user's examples between the parts: one
raw user is one user of a store.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import hashlib
from typing import Optional

from dp_fedemb.data import names as names_lib

_Part = Callable[[str], Optional[str]]


def by_hash(
    kind: str, fractions: Mapping[str, float], seed: int, rest: str = 'train'
) -> Callable[[str], str]:
    """Returns the function from a name to its part.

    Args:
        kind: of the names; a user and an identity called the same are hashed apart.
        fractions: expected fraction of the names for each part but `rest`.
        seed: another seed divides otherwise.
        rest: the part of all others.

    Raises:
        ValueError: for fractions outside [0, 1), or that leave nothing for `rest`.
    """
    for part, fraction in fractions.items():
        if not 0 <= fraction < 1:
            raise ValueError(f'{part} fraction={fraction}: expected a number in [0, 1)')
    if sum(fractions.values()) >= 1:
        raise ValueError(f'fractions {dict(fractions)}: expected a sum below 1, for {rest}')

    def part_of(name: str) -> str:
        place = int.from_bytes(_digest(kind, name, seed)[:8], 'big') / 2**64
        for part, fraction in fractions.items():
            if place < fraction:
                return part
            place -= fraction
        return rest

    return part_of


def of_public_list(
    names: Iterable[str], counts: Mapping[str, int], seed: int, rest: str = 'train'
) -> dict[str, str]:
    """Divides a list that is the same whatever the data are, in exact numbers.

    Args:
        names: the public list, for instance the classes of a data set.
        counts: number of names for each part but `rest`.
        seed: another seed divides otherwise.
        rest: the part of all others.

    Raises:
        ValueError: for counts below 0, or that leave nothing for `rest`.
    """
    ordered = sorted(set(names), key=lambda name: _digest('public list', name, seed))
    if any(count < 0 for count in counts.values()) or sum(counts.values()) >= len(ordered):
        raise ValueError(
            f'{dict(counts)} of {len(ordered)} names: expected numbers that leave some for'
            f' {rest}'
        )
    parts = dict.fromkeys(ordered, rest)
    start = 0
    for part, count in counts.items():
        parts.update(dict.fromkeys(ordered[start : start + count], part))
        start += count
    return parts


def _digest(kind: str, name: str, seed: int) -> bytes:
    text = f'{seed}/{kind}/{names_lib.normal(name)}'
    return hashlib.sha256(text.encode(errors='surrogateescape')).digest()


@dataclasses.dataclass(frozen=True)
class Division:
    """Users and identities, both divided among parts.

    An example belongs to a part if its user and its identity do. Others are left out,
    for they would show a training user or a training identity to the evaluation.

    Attributes:
        users: gives the part of a user, or None to leave the user out.
        identities: gives the part of an identity; None where no two users share one, so
            that identities go with their users and nothing is left out.
    """

    users: _Part
    identities: Optional[_Part] = None

    def part(self, user: str, identity: str) -> Optional[str]:
        """Returns the part of an example, or None if it is left out."""
        part = self.users(user)
        if self.identities is None or part is None:
            return part
        return part if part == self.identities(identity) else None

    def kept(self, counts: Mapping[tuple[str, str], int]) -> int:
        """Returns how many examples have a part, of the numbers by (user, identity)."""
        return sum(n for pair, n in counts.items() if self.part(*pair) is not None)

    def roster(self, names: Iterable[str], part: str = 'train') -> list[str]:
        """Returns the users of a part, by name, whether anything of theirs is kept or not."""
        return sorted(name for name in set(names) if self.users(name) == part)

    def notes(self, counts: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
        """Says how many examples and users are left out.

        Args:
            counts: number of examples of each (user, identity).
        """
        listed = {user for user, _ in counts if self.users(user) is not None}
        of_listed = {pair: n for pair, n in counts.items() if pair[0] in listed}
        kept = {pair for pair in of_listed if self.part(*pair) is not None}
        out = sum(number for pair, number in of_listed.items() if pair not in kept)
        if not out:
            return ()
        note = (
            f'{out:,} of {sum(of_listed.values()):,} images are left out, for their user'
            ' belongs to one part and their identity to another'
        )
        empty = listed - {user for user, _ in kept}
        if empty:
            note += (
                f'; so no image is left of {len(empty):,} users, and those of train keep their'
                ' places without data'
            )
        return (note,)
