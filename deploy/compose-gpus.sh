#!/bin/sh
# Prints a compose file with one worker for each GPU of this host after the first two, which docker-compose.yml has:
#
#   deploy/compose-gpus.sh 8 > compose.gpus.yaml
#   docker compose -f docker-compose.yml -f compose.gpus.yaml --profile two-gpus up --detach
#
# `!override` (Compose 2.24) replaces the list of devices; lists are joined otherwise, and a worker would have two GPUs.
set -eu
gpus=${1:-}
case $gpus in ''|*[!0-9]*) echo "the number of GPUs is missing: deploy/compose-gpus.sh 8" >&2; exit 2 ;; esac
[ "$gpus" -gt 2 ] || { echo "docker-compose.yml has the workers of two GPUs: --profile two-gpus" >&2; exit 2; }

echo 'services:'
gpu=2
while [ "$gpu" -lt "$gpus" ]; do
    cat <<EOF
  gpu-worker-$gpu:
    extends: {file: docker-compose.yml, service: gpu-worker}
    volumes: ["gpu-worker-$gpu:/var/lib/star"]
    deploy:
      resources: {reservations: {devices: !override [{driver: nvidia, device_ids: ["$gpu"], capabilities: [gpu]}]}}
EOF
    gpu=$((gpu + 1))
done
echo 'volumes:'
gpu=2
while [ "$gpu" -lt "$gpus" ]; do
    echo "  gpu-worker-$gpu:"
    gpu=$((gpu + 1))
done
