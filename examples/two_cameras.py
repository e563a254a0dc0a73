"""Two cameras, one model:  python examples/two_cameras.py [camera or file] [camera or file].

The people of both go through the network together; either may stall without the other.
"""

import sys

from pcr_rt import PoseEstimator, PoseStream

sources = sys.argv[1:3] or [0, 1]
with PoseEstimator() as estimator:
    stream = PoseStream(sources, estimator)
    for _, poses in stream:
        print(f"source {poses.source}, {poses.timestamp:.2f} s: {len(poses)} people")
    for stats in stream.stats:
        print(stats)
