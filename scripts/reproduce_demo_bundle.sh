#!/usr/bin/env bash
# Makes the bundle that ships with finevla again, from nothing but seeds: about half an hour on two cores.
# Compare the dataset hash that it prints with the one in the bundle (`finevla inspect BUNDLE`).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
work=${1:-data/reproduce}
mkdir -p "$work"
finevla sim record --out "$work/demo_bags" --plain --episodes 640 --seed 0 --noise 1.0 --workers 2
finevla convert "$work/demo_bags" --out "$work/demo_dataset" --workers 2
finevla train "$work/demo_dataset" --out "$work/demo_train" --steps 4000 --seed 0
finevla export "$work/demo_train" --out "$work/cobotmagic_demo" --max-mb 25
