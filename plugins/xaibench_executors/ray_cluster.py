"""A Ray cluster as the executor sees it: joined or begun here, its room for actors, and its end."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

from xaibench.api import PlanError, describe_error


def require_ray() -> None:
    """Raises :class:`PlanError` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise PlanError("executor 'ray' needs Ray, which is not installed", "pip install 'xaibench[ray]'")


class RayCluster:
    """A connection to Ray. One that the process has already is used, and stays.

    ``address`` empty begins Ray on this machine: on the loopback interface, with ``cpus`` slots and an object store of
    ``store_bytes``, without dashboard and without reports of usage. It ends with :meth:`close`, and with this process
    however that ends.
    """

    def __init__(self, address: str, cpus: int, store_bytes: int) -> None:
        if not address:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # what makes Ray listen on loopback alone
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # no GPU asked for is none
        import ray

        self.ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if not self._is_ours:
            return
        own = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": store_bytes}
        options = {"address": address} if address else own
        handler = signal.getsignal(signal.SIGTERM)
        try:
            # What workers print stays in Ray's log files: it would come on our stdout.
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        except Exception as error:
            where = f"Ray at {address} cannot be reached" if address else "Ray cannot be started"
            raise PlanError(f"{where}: {describe_error(error)}", "'ray status' shows whether a cluster runs") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray's own would run while results are written

    def room(self, needs: Mapping[str, float]) -> int:
        """The number of actors of these needs that all nodes together hold."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(
            min((math.floor(node.get(name, 0) / amount + 1e-6) for name, amount in needs.items() if amount), default=1)
            for node in nodes
        )

    def shape(self) -> str:
        """What the nodes have, in words."""
        total: Mapping[str, float] = self.ray.cluster_resources()
        parts = [f"{total[name]:g} {name}" for name in sorted(total) if not name.startswith(("node:", "object_store"))]
        return ", ".join(part for part in parts if not part.endswith("memory")) or "no resources"

    def close(self) -> None:
        """End the connection, and Ray where it was begun here."""
        if self._is_ours:
            self.ray.shutdown()
