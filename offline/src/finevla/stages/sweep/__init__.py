"""Does fine-grained language make a policy obey? `finevla sweep DATASET --out DIR`.

plan.py names the cells (head x mix x seed) and their order, ledger.py keeps what is known on disk,
phases.py trains, exports and evaluates one cell in child processes (child.py), cell.py puts its figures
together, execute.py runs cells side by side, here or on Ray, manifest.py proves that cells of one seed
saw the same frames, count.py and verdict.py turn cells into figures, table.py and plot.py show them,
published.py holds what the paper reports.
"""
