"""Which files are pictures: the formats that are read, and how they are named."""

import contextlib
import functools
import importlib

from PIL import Image

# Formats of pixels alone. Pillow also opens vectors (with another program), films and
# scientific containers, which a collection of pictures must not smuggle in.
_FORMATS = (
    'AVIF',
    'BMP',
    'DIB',
    'GIF',
    'HEIF',
    'JPEG',
    'JPEG2000',
    'JXL',
    'MPO',
    'PCX',
    'PNG',
    'PPM',
    'QOI',
    'SGI',
    'SUN',
    'TGA',
    'TIFF',
    'WEBP',
)
# Packages that add a format to Pillow, where they are installed: package, name of the
# function in it that does so (None: importing does), suffixes.
_PLUGINS = (
    ('pillow_heif', 'register_heif_opener', ('.heic', '.heics', '.heif', '.heifs', '.hif')),
    ('pillow_avif', None, ('.avif', '.avifs')),
    ('pillow_jxl', None, ('.jxl',)),
)
# What cameras write and only a raw converter reads well.
_RAW = ('.arw', '.cr2', '.cr3', '.dng', '.nef', '.orf', '.raf', '.rw2')


@functools.cache
def readable() -> tuple[str, ...]:
    """Returns the names of the formats that can be read here, as Pillow calls them."""
    Image.init()
    for package, function, suffixes in _PLUGINS:
        if any(suffix in Image.registered_extensions() for suffix in suffixes):
            continue
        # A plug-in that is there and broken is as good as none.
        with contextlib.suppress(Exception):
            plugin = importlib.import_module(package)
            if function is not None:
                getattr(plugin, function)()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """Returns the ends of names, as '.jpg', of the pictures that can be read here."""
    formats = {*readable(), 'MPO'}
    found = {
        suffix for suffix, name in Image.registered_extensions().items() if name in formats
    }
    # Pillow does not know these names for what it reads.
    return frozenset(found | ({'.mpo', '.jpeg'} if 'JPEG' in formats else set()))


def remedy(suffix: str) -> str:
    """Returns what makes files of this suffix readable, '' if they are no pictures."""
    for package, _, known in _PLUGINS:
        if suffix in known:
            return f'install {package.replace("_", "-")}'
    return 'convert them to JPEG or TIFF' if suffix in _RAW else ''
