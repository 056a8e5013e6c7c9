"""The foreign driver as a process that speaks JSON lines; `policy.yaml` declares what its numbers mean:

detour check-policy examples/foreign_policy/policy.yaml
"""

import base64
import io
import json
import sys

import numpy as np
from arcs import drive
from PIL import Image

for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "hello":
        answer = {"type": "hello", "protocol": 1}
    else:
        newest = request["pictures"]["front"][-1]
        front = np.array(Image.open(io.BytesIO(base64.b64decode(newest))).convert("RGB"))
        ego = request["ego"] or {"speed_mps": 0.0, "yaw_rate_radps_to_the_left": 0.0}
        points = drive(front, ego["speed_mps"], ego["yaw_rate_radps_to_the_left"])
        answer = {"type": "plan", "id": request["id"], "trajectory": points}
    print(json.dumps(answer), flush=True)
