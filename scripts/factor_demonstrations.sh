#!/usr/bin/env bash
# Demonstrations of the eight tasks whose instructions differ in one factor, as a dataset: 2960 episodes, 245,194
# frames; 35 to 90 minutes on two cores. What is there already is not made again; 0 episodes leave a part out.
#   scripts/factor_demonstrations.sh FOLDER    leaves FOLDER/dataset
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
work=${1:-data/factors}
tasks=pick_lift,place_in_bowl,upright_bottle,rotate_block,place_cup_on_coaster,move_around_obstacle,clean_table,stack_blocks_two
[[ ! -e $work/dataset/meta/info.json ]] || exit 0
bags=()
record() { # FOLDER EPISODES FLAGS...
    (($2)) || return 0
    finevla sim record --out "$work/$1" --episodes "$2" --noise 1.0 --hard 0.3 --cameras cam_high \
        --workers "${WORKERS:-2}" "${@:3}"
    bags+=("$work/$1")
}
record bags_tasks "${TASK_EPISODES:-1600}" --task "$tasks" --seed 1
# Lifting has three factors and three sides to come from: it needs more.
record bags_lift "${LIFT_EPISODES:-400}" --task pick_lift --seed 2
record bags_astray "${ASTRAY_EPISODES:-960}" --task "$tasks" --seed 3 --astray 0.9
finevla convert "${bags[@]}" --out "$work/dataset" --cameras cam_high --workers "${WORKERS:-2}"
