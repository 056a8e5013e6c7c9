"""What the model keeps of the past: keys and values of clean chunks, as values, never as hidden state."""

from worldmodel.memory.entries import ChunkEntry, KeysValues
from worldmodel.memory.memories import AnyMemory, Full, Memory, Window, make_memory, memory_stats, memory_warnings
from worldmodel.memory.selective import Selective

__all__ = [
    "AnyMemory",
    "ChunkEntry",
    "Full",
    "KeysValues",
    "Memory",
    "Selective",
    "Window",
    "make_memory",
    "memory_stats",
    "memory_warnings",
]
