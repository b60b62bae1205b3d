"""DLPack, version 0.8: arrays on the GPU given to other libraries and taken from them without a copy.

The structures are those of the specification (https://dmlc.github.io/dlpack): a capsule called "dltensor" holds a
DLManagedTensor; who takes it renames it and calls its deleter when done.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

CUDA = 2  # kDLCUDA
_CODES = {"i": 0, "u": 1, "f": 2}  # kDLInt, kDLUInt, kDLFloat
_NAME, _USED = b"dltensor", b"used_dltensor"


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("index", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_python = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", _python))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_SetName", _python))

_given: dict[int, tuple[Any, ...]] = {}  # what those who took an array still need, by the address of its structure


@_Deleter
def _forget(managed: Any) -> None:
    _given.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _drop_capsule(capsule: int) -> None:
    if _is_valid(capsule, _NAME):  # nobody took it
        _given.pop(_pointer(capsule, _NAME), None)


def give(pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: int, owner: object) -> object:
    """Return a capsule of an array; the owner is kept until whoever takes the capsule is done with it.

    Args:
        pointer: Address of its first value.
        shape: Its extents; it lies densely.
        dtype: Integers, unsigned integers or floats.
        device: The GPU's number.
        owner: What keeps the memory.
    """
    extents = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    kind = _Type(_CODES[dtype.kind], dtype.itemsize * 8, 1)
    tensor = _Tensor(pointer, _Device(CUDA, device), len(shape), kind, extents, None, 0)
    managed = _Managed(tensor, None, _forget)
    address = ctypes.addressof(managed)
    _given[address] = (managed, extents, owner)
    return _new(address, _NAME, _drop_capsule)


class Taken:
    """An array that another library gave; it is given back with the object.

    Attributes:
        pointer: Address of its first value.
        shape: Its extents.
        dtype: Of its values.
        device: The GPU's number.

    Raises:
        ValueError: It is no capsule of an array, or the array does not lie densely.
        TypeError: Its values are no plain numbers.
    """

    def __init__(self, capsule: object) -> None:
        self._managed: Any = None
        if not _is_valid(id(capsule), _NAME):
            raise ValueError(f"from_dlpack: array must give a capsule called dltensor, got {capsule!r}")
        managed = ctypes.cast(_pointer(id(capsule), _NAME), ctypes.POINTER(_Managed))
        _rename(id(capsule), _USED)
        self._managed = managed  # from here on ours to give back
        tensor = managed.contents.tensor
        kinds = {code: kind for kind, code in _CODES.items()}
        if tensor.dtype.code not in kinds or tensor.dtype.lanes != 1:
            raise TypeError(f"from_dlpack: array must hold plain numbers, got DLPack's type {tensor.dtype.code}")
        self.dtype: np.dtype[Any] = np.dtype(f"{kinds[tensor.dtype.code]}{tensor.dtype.bits // 8}")
        self.shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
        self.device = int(tensor.device.index)
        self.pointer = (tensor.data or 0) + tensor.byte_offset
        step = 1
        for i in reversed(range(tensor.ndim)):
            if tensor.strides and self.shape[i] > 1 and tensor.strides[i] != step:
                raise ValueError(
                    f"from_dlpack: array must be C-contiguous, got shape {self.shape} with strides; copy it first"
                )
            step *= self.shape[i]

    def __del__(self) -> None:
        managed, self._managed = getattr(self, "_managed", None), None
        if managed and managed.contents.deleter:
            managed.contents.deleter(managed)
