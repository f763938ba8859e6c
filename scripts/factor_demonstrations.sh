#!/usr/bin/env bash
# Demonstrations of the eight tasks whose instructions differ in one factor, as a dataset: 2960 episodes, 245,194
# frames; 35 minutes on two cores. What is there already is not made again.
#   scripts/factor_demonstrations.sh FOLDER    leaves FOLDER/dataset
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
work=${1:-data/factors}
tasks=pick_lift,place_in_bowl,upright_bottle,rotate_block,place_cup_on_coaster,move_around_obstacle,clean_table,stack_blocks_two
record=(--noise 1.0 --hard 0.3 --cameras cam_high --workers "${WORKERS:-2}")
[[ ! -e $work/dataset/meta/info.json ]] || exit 0
mkdir -p "$work"
finevla sim record --out "$work/bags_tasks" --task "$tasks" --episodes "${TASK_EPISODES:-1600}" --seed 1 "${record[@]}"
# Lifting has three factors and three sides to come from: it needs more.
finevla sim record --out "$work/bags_lift" --task pick_lift --episodes "${LIFT_EPISODES:-400}" --seed 2 "${record[@]}"
finevla sim record --out "$work/bags_astray" --task "$tasks" --episodes "${ASTRAY_EPISODES:-960}" --seed 3 \
    --astray 0.9 "${record[@]}"
finevla convert "$work/bags_tasks" "$work/bags_lift" "$work/bags_astray" --out "$work/dataset" \
    --cameras cam_high --workers "${WORKERS:-2}"
