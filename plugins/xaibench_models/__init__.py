"""Detector adapters: ONNX files, PyTorch models, and the demo detector."""
