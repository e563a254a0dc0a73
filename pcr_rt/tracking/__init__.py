"""Ids, regions and smoothing from frame to frame; knows no stream."""
