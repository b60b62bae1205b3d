"""The frame loop: decoding, the network with what surrounds it, tracking and sinks overlap; order is kept.

One thread reads the source; workers take frames through preprocess, network and postprocess, each with buffers of its own;
the consumer's thread tracks and writes, in the source's order. Everything between them is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from yolokkn.runtime.cadence import Cadence
from yolokkn.runtime.camera_motion import CameraMotionEstimator
from yolokkn.runtime.following import FrameTracker, MakeRecorder
from yolokkn.runtime.lane import POLICIES, FrameSource, Lane, PipelineConfig, ResultSink
from yolokkn.runtime.model import Model
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.runtime.workers import Workers, processor
from yolokkn.types import Detections, Frame

__all__ = ["POLICIES", "FrameSource", "Pipeline", "PipelineConfig", "ResultSink", "run_pipeline"]


class Pipeline:
    """Takes a source through a model, and perhaps a tracker and sinks. Iterate over it once; close it, or use `with`.

    Args:
        source: Where frames come from; the pipeline closes it.
        process: Takes an image to its detections; called from several threads at once.
        tracker: Gives identities, in the source's order.
        camera: Measures the camera's motion, which the tracker is told.
        cadence: Which frames the network sees; the tracker carries the others. None: all.
        sinks: Take each frame and result, in the source's order. The caller closes them.
        config: How it runs.
        ledger: Where times go.
        new_ids: A stream that was opened again gets new ids; else its tracks go on if they are still known.
        recorder: Called with each finished frame; made with how its frames are followed (see `Lane`).
        on_sink_error: Told of a sink that fails, which gets nothing more then; None: the failure ends the run.

    Raises:
        ValueError: There is a cadence and no tracker.

    Example:
        >>> with Pipeline(source, process) as pipeline:  # doctest: +SKIP
        ...     for frame, result in pipeline: ...
    """

    def __init__(
        self,
        source: FrameSource,
        process: Callable[..., Detections],
        *,
        tracker: FrameTracker | None = None,
        camera: CameraMotionEstimator | None = None,
        cadence: Cadence | None = None,
        sinks: Sequence[ResultSink] = (),
        config: PipelineConfig | None = None,
        ledger: LatencyLedger | None = None,
        new_ids: bool = False,
        recorder: MakeRecorder | None = None,
        on_sink_error: Callable[[ResultSink, Exception], None] | None = None,
    ) -> None:
        self.config = config or PipelineConfig.for_source(source.is_live)
        self._workers = Workers(process, self.config.num_requests, self.config.num_workers)
        self._lane = Lane(
            source, self.config, self._workers.lock, self._workers.wake, tracker=tracker, camera=camera, cadence=cadence,
            sinks=sinks, ledger=ledger, new_ids=new_ids, recorder=recorder, on_sink_error=on_sink_error,
        )  # fmt: skip
        self._workers.attach(self._lane)
        self.ledger = self._lane.ledger

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame with its Detections, or Tracks where there is a tracker, in the source's order.

        Raises:
            RuntimeError: The pipeline was started before.
            Exception: What a stage raised, after the results before it.
        """
        if self._lane.was_started:
            raise RuntimeError("Pipeline: can be iterated once; make a new one for another run")
        self._workers.start()
        self._lane.start()
        try:
            yield from self._lane.results()
        finally:
            self.close()

    def stop(self) -> None:
        """Let the iteration end; may be called from another thread or a signal handler."""
        self._lane.stop()

    def close(self) -> None:
        """Stop every thread, close the source, and count the frames under way as dropped. Safe to call again."""
        self._lane.stop()
        self._workers.join()
        self._lane.close()


def run_pipeline(
    source: FrameSource,
    model: Model,
    *,
    tracker: FrameTracker | None = None,
    camera: CameraMotionEstimator | None = None,
    cadence: Cadence | None = None,
    sinks: Sequence[ResultSink] = (),
    config: PipelineConfig | None = None,
    ledger: LatencyLedger | None = None,
    new_ids: bool = False,
    recorder: MakeRecorder | None = None,
    on_sink_error: Callable[[ResultSink, Exception], None] | None = None,
) -> Pipeline:
    """Build the pipeline of a source and a model, with one workspace a worker.

    Args:
        source: Where frames come from.
        model: A loaded model; what runs is that of `model.for_requests(config.num_requests)`.
        tracker: Gives identities.
        camera: Measures the camera's motion, which the tracker is told.
        cadence: Which frames the network sees.
        sinks: Take each frame and result.
        config: How it runs; chosen by the kind of source where None.
        ledger: Where times go.
        new_ids: A stream that was opened again gets new ids; else its tracks go on if they are still known.
        recorder: Called with each finished frame; made with how its frames are followed (see `Lane`).
        on_sink_error: Told of a sink that fails; None: the failure ends the run.
    """
    config = config or PipelineConfig.for_source(source.is_live)
    return Pipeline(
        source, processor(model.for_requests(config.num_requests)), tracker=tracker, camera=camera, cadence=cadence,
        sinks=sinks, config=config, ledger=ledger, new_ids=new_ids, recorder=recorder, on_sink_error=on_sink_error,
    )  # fmt: skip
