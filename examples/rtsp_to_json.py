"""A network camera to JSON lines:  python examples/rtsp_to_json.py rtsp://camera/stream out.jsonl.

Runs until Ctrl-C or SIGTERM, through losses of the camera; every line is flushed at once.
"""

import contextlib
import sys

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.streaming.sinks import JsonLinesSink

source, path = sys.argv[1:]
with PoseEstimator() as estimator:
    stream = PoseStream(source, estimator, sinks=[JsonLinesSink(path)])
    with contextlib.suppress(KeyboardInterrupt):
        stream.run()
    print(stream.stats[0])
