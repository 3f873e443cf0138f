"""The latent-space explorer: a model in a web page that needs no server but for its files."""

from tfvae.explorer.page import PAGE_FILE, build, read_page
from tfvae.explorer.runtime import fetch_runtime, install_runtime, is_complete
from tfvae.explorer.server import PageServer

__all__ = [
    "PAGE_FILE",
    "PageServer",
    "build",
    "fetch_runtime",
    "install_runtime",
    "is_complete",
    "read_page",
]
