"""What `cargo xtask bench-peers` says of the machine and of its Python packages. Out: one line of JSON."""
import datetime
import importlib.metadata
import json
import pathlib
import platform

info = pathlib.Path("/proc/cpuinfo")
names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
    if info.exists() else []
facts = {"date": datetime.date.today().isoformat(), "cpu": names[0] if names else platform.processor()}
print(json.dumps(facts | {name: importlib.metadata.version(name) for name in ("onnxruntime", "torch")}))
