"""COCO's files, and AP."""
