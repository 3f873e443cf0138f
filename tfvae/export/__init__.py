"""Exports: a SavedModel for TensorFlow Serving, TFLite files for devices and browsers."""

from tfvae.export.card import read_card
from tfvae.export.device_profile import tflite
from tfvae.export.serving_profile import saved_model
from tfvae.export.signatures import SIGNATURE_NAMES

__all__ = ["SIGNATURE_NAMES", "read_card", "saved_model", "tflite"]
