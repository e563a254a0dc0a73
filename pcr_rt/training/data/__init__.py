"""Labelled people, augmentation, targets and the loader that feeds the trainer."""
