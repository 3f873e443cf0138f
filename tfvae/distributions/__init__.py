"""The bridge between TFP's distributions and Keras 3, and what both need beneath them."""

from tfvae.distributions.bridge import as_tensor_like, plain, value_is_draw
from tfvae.distributions.precision import float_dtype
from tfvae.distributions.scales import positive_scale, softplus

__all__ = ["as_tensor_like", "float_dtype", "plain", "positive_scale", "softplus", "value_is_draw"]
