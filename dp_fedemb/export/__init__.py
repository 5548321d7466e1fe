"""A trained model in the formats of other runtimes, with its card, in one folder."""

from dp_fedemb import environment

environment.check()

from dp_fedemb.export.checking import Check
from dp_fedemb.export.checking import CheckSet
from dp_fedemb.export.formats import check as check_formats
from dp_fedemb.export.formats import FORMATS
from dp_fedemb.export.release import Calibration
from dp_fedemb.export.release import export
from dp_fedemb.export.release import Exported
