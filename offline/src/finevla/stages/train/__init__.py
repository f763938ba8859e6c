"""Train a policy on a LeRobot v3.0 dataset: `finevla train DATASET --out DIR`.

data.py reads and crops the frames once into memory, split.py keeps episodes for validation,
batches.py draws and augments, probe.py tells whether words are bound to places, loop.py descends,
checkpoint.py saves and resumes exactly, curve.py draws the loss.
"""
