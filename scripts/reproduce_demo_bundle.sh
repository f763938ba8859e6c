#!/usr/bin/env bash
# Makes the bundle that ships with finevla again, from nothing but seeds: under two hours on two cores.
# Compare the dataset hash that it prints with the one in the bundle (`finevla inspect BUNDLE`).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
work=${1:-data/factors}
scripts/factor_demonstrations.sh "$work"
train=(--mix 1:1 --mirror 0.5 --mirror-without 'left bowl' 'right bowl' --workspace 0.1433 0.4124 -0.1345 0.1345
    --image-size 64 --precision bfloat16 --ema 0.999 --optimizer muon --roll-px 0 --compile --seed 0)
finevla train "$work/dataset" --out "$work/first" --steps 9000 --lr 2.5e-3 --balance group "${train[@]}"
finevla train "$work/dataset" --out "$work/second" --init "$work/first" --steps 8000 --lr 2e-3 --balance frames \
    "${train[@]}"
finevla export "$work/second" --out "$work/cobotmagic_demo" --max-mb 25
