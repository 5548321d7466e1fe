"""Wrong values for every flag, made from the flags' definitions."""

from absl import flags

from flags import paths

# What is no number, or none that any flag means.
NO_NUMBERS = ('', ' ', 'abc', 'nan', '-inf', '1e400', '1,2', '½', 'é', '0x', '1\n2', '1\x002')
# What Python alone reads as one.
NO_NUMBERS += ('1_0', '\u0661', '\uff11', ' 1')
ABSURD = ('1' + 80 * '0', '-1' + 30 * '0', '-1')
NO_FLOATS = (*NO_NUMBERS, *ABSURD, 'inf', '1e308')
# Zero as soon as it is a number of 32 bits, with which models are trained.
NEARLY_ZERO = ('1e-300', '5e-324')
NO_INTEGERS = (*NO_NUMBERS, *ABSURD, '2.5', '1e3', 'inf')
NO_TRUTH = ('', 'maybe', '2', 'é', 'nan', 'true\n')
NO_TEXT = ('', ' ', 'a\nb', 'a\x00b', 'a\x1b[31mb', 'a\udcffb', '\u0085')
NO_TEXT += ('\u200b', '\ufeff ', 'a\u2028b', 'a\u202egpj.exe')
# Of another user, of the web, and too long for any file system.
NO_PATH = (
    '-',
    '--rounds=3',
    '~nobody-of-that-name/a',
    'gs://bucket/a',
    'file:///a',
    300 * 'a',
    3000 * 'a/',
)

# Numbers that may be zero.
ZERO = {
    'adaptive_clip_learning_rate',
    'centre_clients',
    'client_momentum',
    'ema',
    'strategy_averaging',
    'data_seed',
    'head_margin',
    'head_only_steps',
    'max_broken',
    'noise_multiplier',
    'pretrain_momentum',
    'pretrain_warmup',
    'momentum',
    'warmup',
    'recall_floor',
    'rounds_per_eval',
    'search_seed',
    'seed',
    'server_momentum',
    'strategy_momentum',
    'images_per_identity',
    'target_unclipped_quantile',
    'threshold',
}
# Numbers that may be -1.
NEGATIVE = {'threshold'}
# Numbers that may be very small.
SMALL = {'delta'}
# Texts that may be empty.
EMPTY = {'freeze'}


def lines(values):
    """Returns (flag, argument) to be refused, for all flags but those of absl."""
    found = []
    for name, flag in sorted(_own(values).items()):
        found += [(name, f'--{name}={value}') for value in wrong(name, flag)]
        misspelt = name[:-1] + ('y' if name[-1] == 'x' else 'x')
        found.append((misspelt, f'--{misspelt}=1'))
        if not flag.boolean:
            found.append((name, f'--{name}'))
    return found


def base_of(base, line):
    """Returns what a line is called with: the base without what the line says itself.

    A line that begins with a command has no other, and none of a task.
    """
    given = {part.partition('=')[0] for part in line}
    if not line[0].startswith('-'):
        given |= {part for part in base if not part.startswith('-')}
        given |= {'--task_option', '--cache_dir', '--output'}
        if line[0] in ('rounds', 'canaries', 'membership'):
            given.add('--num_users')
    return [part for part in base if part.partition('=')[0] not in given]


def wrong(name, flag):
    """Returns texts that a flag must refuse, whatever it is for."""
    parser = flag.parser
    if flag.boolean:
        return NO_TRUTH
    if isinstance(parser, flags.EnumParser):
        return (*NO_TEXT, 'nope', parser.enum_values[0].upper())
    if isinstance(parser, (flags.IntegerParser, flags.FloatParser)):
        texts = NO_FLOATS if isinstance(parser, flags.FloatParser) else NO_INTEGERS
        if name not in ZERO:
            texts = (*texts, '0')
            if isinstance(parser, flags.FloatParser) and name not in SMALL:
                texts += NEARLY_ZERO
        return [text for text in texts if text != '-1' or name not in NEGATIVE]
    if name in paths.NAMES:
        return (*NO_TEXT, *NO_PATH)
    return [text for text in NO_TEXT if text.strip() or name not in EMPTY]


def _own(values):
    modules = values.flags_by_module_dict()
    return {
        flag.name: flag
        for module, found in modules.items()
        for flag in found
        if not module.startswith('absl')
    }
