"""How a network is run: the engine protocol, the embedded ONNX Runtime engine and the model repository."""
