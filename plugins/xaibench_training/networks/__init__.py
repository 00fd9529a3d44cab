"""Networks to train, by name, and how a trained one is built again from its card."""

from xaibench_training.networks.building import NetworkSpec, build, build_trained
from xaibench_training.networks.table import TARGET_LAYER, TIMM_PREFIX, Architecture, architecture, names, settled_size

__all__ = [
    "TARGET_LAYER",
    "TIMM_PREFIX",
    "Architecture",
    "NetworkSpec",
    "architecture",
    "build",
    "build_trained",
    "names",
    "settled_size",
]
