#!/usr/bin/env python3
"""Writes waves.csv: the height of a standing wave at 640 places, a smooth function of four numbers."""
import math
import random
from pathlib import Path

random.seed(1)
rows = ["x,y,stiffness,time,height"]
for _ in range(640):
    x, y, stiffness, time = (random.uniform(-1, 1) for _ in range(4))
    height = math.sin(3 * x + time) * math.cos(2 * y) * (1 + 0.5 * stiffness)
    rows.append(f"{x:.4f},{y:.4f},{stiffness:.4f},{time:.4f},{height:.4f}")
Path(__file__).with_name("waves.csv").write_text("\n".join(rows) + "\n")
