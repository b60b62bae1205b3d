"""Servers that the system's Python runs are no modules of the tests."""

collect_ignore = ["rtsp_server.py"]
