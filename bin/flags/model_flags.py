"""A released model, the names of its ops looked at before it runs."""

from absl import flags

FLAGS = flags.FLAGS


def define() -> None:
    """Defines --accept_ops."""
    flags.DEFINE_list(
        'accept_ops',
        [],
        'Ops that you accept in the model beyond those that only compute. A SavedModel is a'
        ' program that runs as you: one with ops that could read or write files, use the'
        ' network or run Python is refused by their names.',
    )


def load(path):
    """Returns the model at a path; with ops that were not accepted it is a ValueError."""
    from dp_fedemb import evaluation

    return evaluation.load_model(path, accept_ops=FLAGS.accept_ops)
