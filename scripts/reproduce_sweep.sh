#!/usr/bin/env bash
# The study of FG:Raw mixes from nothing but seeds: record, convert, sweep; table and curve go to docs/results.
# Interrupt it as you like: the same command goes on where it stopped, also on another machine: a cell whose JSON
# is in docs/results and was made of the same frames with the same settings is not made again (REDO=1 does).
# Give other numbers in the environment:
#   SEEDS=0 FLOW_SEEDS=0 N=20 scripts/reproduce_sweep.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

WORK=${WORK:-data/sweep}           # demonstrations, dataset, cells; not part of the repository
RESULTS=${RESULTS:-docs/results/sweep}   # cells, table.md, summary.json, curve.svg, curve.png
MIXES=${MIXES:-all}                # of the head oft
SEEDS=${SEEDS:-0,1,2}
FLOW_MIXES=${FLOW_MIXES:-raw,1:1,fg}
FLOW_SEEDS=${FLOW_SEEDS:-0,1}
STEPS=${STEPS:-2000}               # updates of each training
# Flags of `finevla train`. The rectangle is what the default crop of the simulated overhead camera shows; the
# phrases keep mirror images of the combination out that no recording holds.
[[ -n ${TRAIN_FLAGS:-} ]] || TRAIN_FLAGS="--mirror 0.5 --mirror-without 'left bowl' 'right bowl' --balance group \
    --workspace 0.1433 0.4124 -0.1345 0.1345 --image-size 64 --ema 0.999 --lr 2.5e-3 \
    --optimizer muon --roll-px 0 --compile"
N=${N:-10}                         # pairs per factor and seed
PROBES=${PROBES:-0}                # pairs per factor that are also asked in other wordings
CLOSED_LOOP=${CLOSED_LOOP:-0}      # episodes per task for success over all tasks
WORKERS=${WORKERS:-2}              # processes
EXECUTOR=${EXECUTOR:-local}        # or ray

export WORKERS TASK_EPISODES=${TASK_EPISODES:-1200} LIFT_EPISODES=${LIFT_EPISODES:-0} ASTRAY_EPISODES=${ASTRAY_EPISODES:-0}
scripts/factor_demonstrations.sh "$WORK"
mkdir -p "$WORK/sweep/cells" "$RESULTS/cells"
for made in "$RESULTS"/cells/*.json; do
    cell="$WORK/sweep/cells/${made##*/}"
    [[ -n ${REDO:-} || ! -e $made || -e $cell ]] || cp "$made" "$cell"
done
status=0
cells() {
    finevla sweep "$WORK/dataset" --out "$WORK/sweep" --heads "$1" --mixes "$2" --seeds "$3" \
        --steps "$STEPS" --train-flags="$TRAIN_FLAGS" --factors all --n "$N" --probes "$PROBES" \
        --closed-loop "$CLOSED_LOOP" --workers "$WORKERS" --executor "$EXECUTOR" || status=$?
    [[ $status -le 1 ]] || exit "$status"   # 1: some cells failed; the table names them
}
cells oft "$MIXES" "$SEEDS"
cells flow "$FLOW_MIXES" "$FLOW_SEEDS"
cp "$WORK"/sweep/cells/*.json "$RESULTS/cells/"
cp "$WORK"/sweep/{table.md,summary.json,curve.svg,curve.png} "$RESULTS/"
echo "results in $RESULTS"
exit "$status"
