#!/usr/bin/env bash
# The study of FG:Raw mixes from nothing but seeds: record, convert, sweep; table and curve go to docs/results.
# Interrupt it as you like: the same command goes on where it stopped. Give other numbers in the environment:
#   SEEDS=0 HEADS=oft N=20 scripts/reproduce_sweep.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

WORK=${WORK:-data/sweep}           # bags, dataset, cells; not part of the repository
RESULTS=${RESULTS:-docs/results}   # table.md, summary.json, curve.svg, curve.png
EPISODES=${EPISODES:-2600}         # demonstrations over all tasks
NOISE=${NOISE:-1.0}                # of the expert
HARD=${HARD:-0.4}                  # share of randomised scenes
CAMERAS=${CAMERAS:-cam_high}       # recorded, separated by commas; TRAIN_FLAGS says which are used
HEADS=${HEADS:-oft,flow}
MIXES=${MIXES:-all}
SEEDS=${SEEDS:-0,1,2}
STEPS=${STEPS:-4000}               # updates of each training
# Flags of `finevla train`. The rectangle is what the default crop of the simulated overhead camera shows; the
# phrases keep mirror images of the combination out that no recording holds.
TRAIN_FLAGS=${TRAIN_FLAGS:---mirror 0.5 --mirror-without 'left bowl' 'right bowl' --balance group \
    --workspace 0.1433 0.4124 -0.1345 0.1345 --image-size 96 --precision bfloat16 --ema 0.999 --lr 2.5e-3 --compile}
N=${N:-50}                         # pairs per factor and seed
PROBES=${PROBES:-5}                # pairs per factor that are also asked in other wordings
CLOSED_LOOP=${CLOSED_LOOP:-0}      # episodes per task for success over all tasks
WORKERS=${WORKERS:-2}              # processes
EXECUTOR=${EXECUTOR:-local}        # or ray

mkdir -p "$WORK"
if [[ ! -e $WORK/dataset/meta/info.json ]]; then
    finevla sim record --out "$WORK/bags" --task all --episodes "$EPISODES" --seed 0 \
        --noise "$NOISE" --hard "$HARD" --cameras "$CAMERAS" --workers "$WORKERS"
    finevla convert "$WORK/bags" --out "$WORK/dataset" --cameras "$CAMERAS" --workers "$WORKERS"
fi
status=0
finevla sweep "$WORK/dataset" --out "$WORK/cells" --heads "$HEADS" --mixes "$MIXES" --seeds "$SEEDS" \
    --steps "$STEPS" --train-flags="$TRAIN_FLAGS" --factors all --n "$N" --probes "$PROBES" \
    --closed-loop "$CLOSED_LOOP" --workers "$WORKERS" --executor "$EXECUTOR" || status=$?
[[ $status -le 1 ]] || exit "$status"   # 1: some cells failed; the table names them
mkdir -p "$RESULTS"
cp "$WORK"/cells/{table.md,summary.json,curve.svg,curve.png} "$RESULTS/"
echo "results in $RESULTS"
exit "$status"
