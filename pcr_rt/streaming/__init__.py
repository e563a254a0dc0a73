"""Follow people from a camera to files and a page: sources, the pipeline, sinks."""
