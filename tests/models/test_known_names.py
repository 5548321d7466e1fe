"""Names that command lines are checked by are those of the parts themselves."""

import pytest

from dp_fedemb import export
from dp_fedemb import known_names
from dp_fedemb import models
from dp_fedemb.models import heads
from dp_fedemb.models import validator
from dp_fedemb.runs import settings


def test_they_are_those_of_the_registries(monkeypatch):
    # In whichever order: other tests take some out for a while.
    assert sorted(models.BACKBONES) == sorted(known_names.BACKBONES)
    assert sorted(models.PRECISIONS) == sorted(known_names.PRECISIONS)
    options = {name: tuple(sorted(found)) for name, found in heads.options().items()}
    assert options == {name: tuple(sorted(known)) for name, known in known_names.HEADS.items()}
    needs = {name: of_format.needs for name, of_format in export.FORMATS.items()}
    assert needs == known_names.EXPORT_FORMATS
    monkeypatch.setitem(models.BACKBONES, 'mine', None)
    settings.ModelSettings(backbone='mine').check_names()


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.soak if '_v2' in name or 'resnet' in name else ())
        for name in known_names.BACKBONES
    ],
)
def test_layers_have_the_same_names_whatever_is_embedded(name):
    small, large = (
        [layer.name for layer in validator.leaf_layers(models.BACKBONES[name](shape, dim))]
        for shape, dim in (((28, 28, 1), 8), ((96, 96, 3), 32))
    )
    assert small == large and len(small) > 2


def test_layers_are_checked_without_data():
    settings.ModelSettings(backbone='lenet', freeze='conv*').check_layers()
    settings.ModelSettings(backbone='somebody else', freeze='x').check_layers()
    for wrong in ('nope', 'conv1,nope'):
        with pytest.raises(ValueError, match="freeze='nope' matches no layer of lenet"):
            settings.ModelSettings(backbone='lenet', freeze=wrong).check_layers()
