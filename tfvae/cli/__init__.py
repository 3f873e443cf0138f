"""The command line; `tfvae --help` says what it does, without waiting for TensorFlow."""

from tfvae.cli.app import main

__all__ = ["main"]
