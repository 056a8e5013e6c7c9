#!/bin/bash
# A batch as a Slurm job array: each task is a driver of its own that does one part. No server, no port, nothing shared but OUT.
#
#   sbatch --array=1-16 examples/jobs/slurm.sh JOBS.yaml /shared/OUT          16 tasks, cores of the CPU
#   sbatch --array=1-4 --gres=gpu:1 examples/jobs/slurm.sh JOBS.yaml /shared/OUT --device cuda
#
# Everything after OUT goes to `detour jobs run`. The same line again goes on: finished units are kept. The number of tasks may
# change from one array to the next only when no task of the one before runs any more.
#
#SBATCH --job-name=detour
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=detour-%A-%a.log

set -u
job=${1:?usage: sbatch --array=1-N slurm.sh JOBS.yaml OUT [options of detour jobs run]}
out=${2:?usage: sbatch --array=1-N slurm.sh JOBS.yaml OUT [options of detour jobs run]}
shift 2

# --array=1-N without gaps: the task's number is the part, the count is in how many parts.
shard="${SLURM_ARRAY_TASK_ID:?start it with sbatch --array=1-N}/${SLURM_ARRAY_TASK_COUNT:?}"

# One worker per core, one thread each, so that results do not depend on the node's size.
detour jobs run "$job" --out "$out" --shard "$shard" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" --check size \
    --scratch "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}" "$@" &
driver=$!

# Slurm asks this script to end 300 s before the time is over (B:TERM@300). The driver then finishes what its workers are at. What
# is not finished after PATIENCE seconds is ended: long rollouts keep their checkpoints. The task goes back into the queue and goes on.
patience=${PATIENCE:-240}
asked=
stop() {
    asked=yes
    kill -TERM "$driver" 2>/dev/null
    (
        sleep "$patience"
        kill -TERM "$driver" 2>/dev/null
    ) >/dev/null 2>&1 &
    killer=$!
}
trap stop TERM

code=0
while :; do # a signal ends `wait` before the driver has ended
    wait "$driver"
    code=$?
    kill -0 "$driver" 2>/dev/null || break
done
[ -n "$asked" ] && kill "$killer" 2>/dev/null
if [ -n "$asked" ] && [ "$code" -ne 0 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
