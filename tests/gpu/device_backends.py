"""Real networks, run by ONNX Runtime on memory that the emulated GPU shares."""

from __future__ import annotations

import weakref

import numpy as np

from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.backends import Backend
from yolokkn.runtime.cuda_device import PinnedArray


class HostNetwork:
    """One network; a graph keeps the call of it."""

    can_be_captured = True

    def __init__(self, backend, picture, runtime, input_hw, gpu_index=0):
        self.backend, self.name, self.runtime, self.gpu_index = backend, picture.name, runtime, gpu_index
        shape = (1, 3, *input_hw)
        probe = backend.run({self.name: np.zeros(shape, np.float32)})
        self.picture_memory = PinnedArray(shape, np.dtype(np.float32))
        self.memory = {name: PinnedArray(value.shape, value.dtype) for name, value in probe.items()}
        self.picture = DeviceArray(self.picture_memory.pointer, shape, np.dtype(np.float32))
        self.outputs = {name: DeviceArray(m.pointer, m.array.shape, m.array.dtype) for name, m in self.memory.items()}

    def run(self):
        for name, value in self.backend.run({self.name: self.picture_memory.array}).items():
            np.copyto(self.memory[name].array, value)

    def enqueue(self, stream):
        self.runtime.enqueue(stream.number, self.run)


class HostBackend(Backend):
    """A model's own backend that has device networks, too; counts what it made and was told."""

    name = "host"
    has_device_network = True

    def __init__(self, model, runtime, gpu_index=0):
        self.inner, self.runtime, self.gpu_index = model.backend, runtime, gpu_index
        self.picture, self.inputs, self.outputs = model.picture, model.backend.inputs, model.backend.outputs
        self.metadata, self.told = model.backend.metadata, []
        self.networks = weakref.WeakSet()
        self.num_made = 0

    def run(self, feeds):
        return self.inner.run(feeds)

    def device_network(self, input_hw):
        network = HostNetwork(self.inner, self.picture, self.runtime, input_hw, self.gpu_index)
        self.networks.add(network)
        self.num_made += 1
        return network

    def has_run(self, is_new):
        self.told.append(is_new)
