"""From a camera to stable, tracked skeletons: sources, the pipeline, sinks and the live page."""
