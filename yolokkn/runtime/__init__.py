"""The parts of the runtime and the pipeline that joins them."""
