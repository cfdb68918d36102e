"""torch without the bookkeeping: batch norms folded into convolutions, and compiled where that is asked for.

Folding works on the exported graph, so it needs to know no network: whatever stands behind a convolution that
nobody else reads is folded (Jacob et al., CVPR 2018, section 3.2); all else stays as it is.
"""

import operator
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.devices import autocast
from models.imaging.engines.kinds import Answers, Engine, EngineRefused, Frames, Kind, PassShape

COMPILE_LIMIT_S = 180.0
_CPU = torch.device("cpu")
_ATEN = torch.ops.aten
_WEIGHT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class _FromBytes(nn.Module):
    """From the layout frames arrive in to a plain tuple, so that engines need no types of ours."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, frames_BHWC: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(frames_BHWC.permute(0, 3, 1, 2)))


class Folded:
    """An exported graph on the CPU, in bfloat16 under autocast."""

    def __init__(self, graph: Callable[[torch.Tensor], Any], kind: Kind) -> None:
        self.kind, self._graph, self.version = kind, graph, torch.__version__

    @torch.inference_mode()
    def __call__(self, frames_BHWC: Frames) -> Answers:
        with autocast(_CPU, "bfloat16" if self.kind.dtype == "bfloat16" else "float32"):
            output = self._graph(torch.from_numpy(frames_BHWC))
        return Answers(*(tensor.numpy() for tensor in output))


def export(module: nn.Module, shape: PassShape) -> torch.export.ExportedProgram:
    """The module's graph from uint8 [B, H, W, C] to the three answers, for this shape alone."""
    example_BHWC = torch.zeros(shape.tuple, dtype=torch.uint8)
    with torch.no_grad(), quiet():
        return torch.export.export(_FromBytes(module.to(_CPU).eval()), (example_BHWC,))


def build_folded(module: nn.Module, kind: Kind, shape: PassShape, device: torch.device) -> Engine:
    """Exported and folded, run by torch's interpreter; needs no compiler."""
    return Folded(_graph(module, kind, shape, device), kind)


def build_compiled(module: nn.Module, kind: Kind, shape: PassShape, device: torch.device) -> Engine:
    """Folded, then compiled with its weights as constants; `COMPILE_LIMIT_S` bounds the time it may take."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise EngineRefused("no_compiler")
    graph = _graph(module, kind, shape, device)
    with _bounded(COMPILE_LIMIT_S), quiet():
        engine = Folded(torch.compile(graph, dynamic=False, options={"freezing": True}), kind)
        engine(torch.zeros(shape.tuple, dtype=torch.uint8).numpy())
    return engine


@contextmanager
def quiet() -> Iterator[None]:
    """Within: libraries keep to themselves what of their own insides is outdated."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield


def fold_batch_norms(module: fx.GraphModule, dtype: torch.dtype) -> int:
    """Fold batch norms into the convolutions before them, in place; returns how many.

    Args:
        module: exported in evaluation mode.
        dtype: what folded weights are kept in; another than float32 needs autocast around the call.
    """
    folded = 0
    for norm in module.graph.find_nodes(op="call_function", target=_ATEN.batch_norm.default):
        conv = norm.args[0]
        if conv.target is not _ATEN.conv2d.default or len(conv.users) > 1:
            continue
        conv_weight, conv_bias = (_constant(module, node) for node in (*conv.args, None)[1:3])
        gamma, beta, mean, variance = (_constant(module, node) for node in norm.args[1:5])
        pair = fuse_conv_bn_weights(conv_weight, conv_bias, mean, variance, norm.args[7], gamma, beta)
        names = (f"folded_weight_{folded}", f"folded_bias_{folded}")
        for name, value in zip(names, pair, strict=True):
            module.register_buffer(name, _laid_out(value.detach().to(dtype)))
        with module.graph.inserting_before(conv):
            conv.args = (conv.args[0], *map(module.graph.get_attr, names), *conv.args[3:])
        norm.replace_all_uses_with(conv)
        module.graph.erase_node(norm)
        folded += 1
    # Under autocast dtypes are others than those that were exported.
    for check in module.graph.find_nodes(op="call_function", target=_ATEN._assert_tensor_metadata.default):
        module.graph.erase_node(check)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return folded


def _graph(module: nn.Module, kind: Kind, shape: PassShape, device: torch.device) -> fx.GraphModule:
    if device.type != "cpu":
        raise EngineRefused("not_on_this_device")
    graph: fx.GraphModule = export(module, shape).module()
    fold_batch_norms(graph, _WEIGHT_DTYPES[kind.dtype])
    return graph


def _constant(module: fx.GraphModule, node: fx.Node | None) -> Any:
    return None if node is None else operator.attrgetter(str(node.target))(module)


def _laid_out(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Within: `EngineRefused` after so many seconds; only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        raise EngineRefused("build_failed", "compiles in the main thread alone")

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise EngineRefused("too_slow_to_build")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    deadline = time.monotonic() + seconds
    try:
        yield
    except Exception as problem:  # the compiler dresses up what passes through it
        if time.monotonic() >= deadline:
            raise EngineRefused("too_slow_to_build") from problem
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
