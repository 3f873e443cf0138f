"""Images: real and drawn, from files and folders, split, and fed in batches without state."""

from tfvae.data.array_batches import array_batches
from tfvae.data.checks import check_images
from tfvae.data.digits import digits
from tfvae.data.faces import ATTRIBUTES, NEUTRAL_FACE, Attribute, draw_face, faces
from tfvae.data.images import DataSplits, Images
from tfvae.data.load import KERAS_DATASETS, load
from tfvae.data.pipeline import BINARIZATIONS, binarize_images, pipeline, steps_per_epoch

__all__ = [
    "ATTRIBUTES",
    "BINARIZATIONS",
    "KERAS_DATASETS",
    "NEUTRAL_FACE",
    "Attribute",
    "DataSplits",
    "Images",
    "array_batches",
    "binarize_images",
    "check_images",
    "digits",
    "draw_face",
    "faces",
    "load",
    "pipeline",
    "steps_per_epoch",
]
