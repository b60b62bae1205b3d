"""Model files as graphs: ONNX read and written without the onnx package, darknet turned into ONNX."""
