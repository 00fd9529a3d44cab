"""Built-in explainers and controls, named in :mod:`xaibench_explainers.plugin`. Import nothing from here."""
