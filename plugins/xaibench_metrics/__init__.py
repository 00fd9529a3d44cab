"""Built-in metrics, named in :mod:`xaibench_metrics.plugin`. Import nothing from here."""
