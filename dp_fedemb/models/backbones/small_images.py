"""The rule by which the larger backbones adapt to small images.

Networks made for 224x224 ImageNet divide the image side by 32; of a 28x28 image
nothing would be left after the third stage. As is usual for CIFAR (He et al. 2016,
section 4.2), small images get a gentler start; the stages behind it are the same.
"""

# Below this many pixels of the shorter side an image is small.
SMALL_BELOW = 64


def is_small(image_shape: tuple[int, int, int]) -> bool:
    """Whether images (H, W, C) call for the gentler start."""
    return min(image_shape[:2]) < SMALL_BELOW
