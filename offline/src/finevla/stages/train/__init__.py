"""Train a policy on a LeRobot dataset: `finevla train DATASET --out DIR`.

data.py reads and crops the frames, mix.py and sampler.py choose frames and words, batches.py makes
batches of them, manifest.py proves what was trained on; split.py keeps episodes for validation.
schedule.py, recipes.py, optim.py and ema.py say how to descend, engine.py makes one update on one
process or many, loop.py makes all of them, checkpoint.py (and sharded.py) saves and resumes exactly.
probe.py tells whether words are bound to places, sim_eval.py whether they are obeyed; metrics.py,
board.py and curve.py write that down. design.py and origin.py make the network, record.py writes
run.json, run.py puts all of it together, flags.py and verb.py are the command.
"""
