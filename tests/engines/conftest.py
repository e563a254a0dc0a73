"""TensorRT's stand-ins."""

from tensorrt_fixtures import fresh_sentences, private_home, tensorrt

__all__ = ["fresh_sentences", "private_home", "tensorrt"]
