#!/usr/bin/env bash
# CONFIG CHECKPOINT NUM_PROCESSES [test.py options]
# One process per GPU, or per process asked for on the CPU. For several
# machines set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT on each.
# PYTHON names another interpreter than `python`.
set -euo pipefail
if [[ $# -lt 3 || ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "error: usage: dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES" \
        "[test.py options]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3

"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${MASTER_PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
