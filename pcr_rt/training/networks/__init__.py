"""Pose networks: encoders, context-aware modules, PCR and the baselines it is compared with."""
