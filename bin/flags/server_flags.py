"""What the server makes of the noise of rounds, as the flags of a run or of its plan say."""

from absl import flags

from dp_fedemb.privacy.factorization import server as server_lib

FLAGS = flags.FLAGS

# Options of correlated noise that say what the server makes of any noise.
WORKLOAD = ('strategy_momentum', 'strategy_lr_schedule', 'strategy_averaging')
# Of the first moment of the server's Adam.
_ADAM_MOMENTUM = 0.9


def server() -> server_lib.Server:
    """The server's steps: as the strategy_... flags say, or the server's own."""
    momentum, schedule, averaging = (FLAGS[name].value for name in WORKLOAD)
    if momentum is None and 'server_momentum' in FLAGS:
        # Adam's first moment is momentum, and what it divides by is not foreseen.
        adam = 'server_optimizer' in FLAGS and FLAGS.server_optimizer == 'adam'
        momentum = _ADAM_MOMENTUM if adam else FLAGS.server_momentum
    if schedule is None and 'server_lr_schedule' in FLAGS:
        schedule = FLAGS.server_lr_schedule
    try:
        return server_lib.Server(momentum or 0.0, schedule or 'constant', averaging or 0.0)
    except ValueError as error:
        raise ValueError(f'strategy_{error}') from None
