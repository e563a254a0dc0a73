"""Frames that lie on the GPU already: python examples/gpu_arrays.py CHECKPOINT VIDEO

Needs CUDA builds of torch and CuPy. The network of a checkpoint runs in torch, everything around
it in CUDA kernels; frames are torch tensors and CuPy arrays in turn, used where they are.
"""

import sys
from pathlib import Path

from pcr_rt import PoseEstimator
from pcr_rt.media import VideoReader
from pcr_rt.training.checkpoints.checkpoint import network_and_spec
from pcr_rt.training.torch_engine import TorchDeviceEngine


def main() -> None:
    """Give the whole frame as one person's box."""
    import cupy  # noqa: TID251
    import torch  # noqa: TID251

    network, spec = network_and_spec(Path(sys.argv[1]))
    engine = TorchDeviceEngine(network.eval().cuda(), spec)
    with PoseEstimator(engine) as estimator, VideoReader(sys.argv[2]) as video:
        for i, (frame, _) in enumerate(video):
            there = torch.from_numpy(frame).cuda() if i % 2 else cupy.asarray(frame)
            print(f"frame {i}: {len(estimator(there, boxes=[[0, 0, *frame.shape[1::-1]]]))} people")


if __name__ == "__main__":
    main()
