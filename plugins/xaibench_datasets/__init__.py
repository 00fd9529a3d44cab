"""Built-in datasets: a folder, a manifest, the FaceForensics++ tree and procedural demo faces."""
