"""One meaning of a name: how users and identities are called everywhere."""

from collections.abc import Iterable
import unicodedata

from dp_fedemb import tables

# Characters of a name in a message.
_MOST_SHOWN = 300


def normal(name: object) -> str:
    """Returns a name in the one spelling that is compared and stored.

    Letters with marks can be spelt in several ways that look the same (macOS writes
    names of files in another than most systems); they are one name here, in Unicode's
    normal form C. Names of files that are no text keep their bytes (surrogate escapes).

    >>> normal('Jose\\u0301') == normal('Jos\\u00e9')
    True
    """
    return unicodedata.normalize('NFC', str(name))


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Returns groups of different names that a reader takes for one, each in order.

    They differ in nothing but capitals, blanks, marks without a width (of right-to-left
    text, for instance) or forms of letters that Unicode holds to be the same character.

    >>> look_alikes(['ann', 'Ann ', 'bo'])
    [['Ann ', 'ann']]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        text = unicodedata.normalize('NFKC', name.casefold())
        seen = ''.join(c for c in text if unicodedata.category(c) not in ('Cf', 'Cc', 'Zs'))
        groups.setdefault(seen, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def shortened(names: Iterable[str], most: int = 5) -> str:
    """Returns names as text for a message; of many the first ones.

    >>> shortened(['ann', 'bo', 'cy'], most=2)
    'ann, bo, ...'
    """
    listed = list(names)
    return ', '.join(printable(name) for name in listed[:most]) + ', ...' * (len(listed) > most)


def printable(name: str) -> str:
    """Returns a name as text that any terminal takes: on one line, of valid characters.

    Of a long one the middle is left out.

    >>> printable('a\\nb')
    'a\\\\nb'
    """
    if len(name) > _MOST_SHOWN:
        name = f'{name[: _MOST_SHOWN // 2]}...{name[-_MOST_SHOWN // 2 :]}'
    return tables.on_one_line(name)
