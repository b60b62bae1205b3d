#!/usr/bin/env bash
# What the tests of streams want of Debian: a real RTSP server and an MQTT broker. Run as root; the tests skip with a reason where it is absent.
set -euo pipefail
apt-get install -y -q --no-install-recommends python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
  gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly mosquitto
