"""Neighbouring data sets: what a guarantee says one user can differ by.

Every plan states an epsilon under two of them. The headline (`UNITS[0]`) needs no
reading of small print; the other stands beside it with its meaning in one sentence.
"""

import dataclasses

# What an epsilon is about. `user`: under the headline's relation. `present_absent`: a
# user's data are there or not. `virtual_client`: the noise against C as the literature
# reports it, whose unit is not a user.
UNITS = ('user', 'present_absent', 'virtual_client')


@dataclasses.dataclass(frozen=True)
class Relation:
    """One neighbouring relation.

    Attributes:
        name: one word for JSON.
        code: its name among dp-accounting's relations.
        text: how neighbouring data sets differ, after "that".
        meaning: what the guarantee promises a user, in a sentence.
    """

    name: str
    code: str
    text: str
    meaning: str


REPLACED = Relation(
    'replaced',
    'REPLACE_ONE',
    'differ by all data of one user, replaced by any others, none included',
    'whatever is released tells nearly the same whether the data of a user were as they are,'
    ' anything else, or left out and the others of its group trained without them',
)
VOID = Relation(
    'present_absent',
    'REPLACE_SPECIAL',
    'differ by all data of one user, present or absent on a fixed public roster; a group'
    ' with an absent member contributes nothing',
    'nothing of the user is used in the other world, and the others of its group of that'
    ' round are left out there too',
)
RETRAINED = Relation(
    'present_absent',
    'REPLACE_SPECIAL',
    'differ by all data of one user, present or absent, in a population of fixed size',
    'the others of its virtual client are trained without the user in the other world',
)
ADDED_OR_REMOVED = Relation(
    'added_or_removed',
    'ADD_OR_REMOVE_ONE',
    'differ by all data of one user, added or removed',
    'whatever is released tells nearly the same with the user and without, the others of its'
    ' virtual client trained without it',
)
