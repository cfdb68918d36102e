"""Parameters of the recipe `lesion-detector`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.artifacts import Builder
from models.backbones.build import BACKBONES
from models.devices import Precision
from models.imaging.augment import Augmentation
from models.imaging.detector import Colour, Pooling, Routing
from models.imaging.lesion_spec import NAME
from models.imaging.lesion_task import Sampling
from models.imaging.prepare import SplitName
from models.imaging.transfer_options import TransferOptions
from models.imaging.triplet import TripletParams
from models.optimisation import OptimiserName, ScheduleName
from models.schema import SchemaError, bounded, decode
from models.training import TrainingConfig


@dataclass(frozen=True)
class LesionDetectorParams(TransferOptions):
    """Parameters of the recipe; the defaults suit a few thousand frames."""

    backbone: str = "resnet18"
    backbone_params: Mapping[str, Any] = field(default_factory=dict)
    size_px: int = bounded(224, minimum=32, maximum=1024)
    epochs: int = bounded(20, minimum=1, maximum=10_000)
    batch_size: int = bounded(32, minimum=2, maximum=4096)
    steps_per_epoch: int | None = bounded(
        None, minimum=1, doc="default: as many as cover the training frames"
    )
    optimiser: OptimiserName = "adamw"
    learning_rate: float = bounded(1e-3, minimum=0, maximum=10)
    weight_decay: float = bounded(1e-2, minimum=0, maximum=1)
    schedule: ScheduleName = "one-cycle"
    map_weight: float = bounded(
        0.5, minimum=0, maximum=10, doc="asks the map to be highest in the lesion, where lesions are drawn"
    )
    cell_weight: float = bounded(
        0.0, minimum=0, maximum=10, doc="asks each cell of the map for its share of lesion; for log-sum-exp"
    )
    sampling: Sampling = "balanced"
    kinds_per_batch: int = bounded(4, minimum=2, maximum=256, doc="P of P x K batches")
    triplet: TripletParams | None = None
    routing: Routing = "joint"
    pooling: Pooling = "mean"
    colour: Colour = "recorded"
    average_decay: float | None = bounded(None, minimum=0, maximum=1, doc="moving average of the weights")
    patience_epochs: int | None = bounded(None, minimum=1, doc="early stop")
    max_seconds: float | None = bounded(None, minimum=0, doc="time budget of the training loop")
    augment: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    split: SplitName = "grouped"
    tune_fraction: float = bounded(0.2, minimum=0.05, maximum=0.45)
    test_fraction: float = bounded(0.2, minimum=0.05, maximum=0.45)
    seed: int = bounded(0, minimum=0, maximum=2**32 - 1)
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every_s: float = bounded(60.0, minimum=0)
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise SchemaError("/backbone", f"must be one of {', '.join(BACKBONES)}")
        backbone = BACKBONES[self.backbone]
        options = decode(backbone.params, self.backbone_params, "/backbone_params")
        if options.in_channels != 3:
            raise SchemaError("/backbone_params/in_channels", "must be 3: frames are RGB")
        least_px = backbone.smallest_input_px
        if self.size_px < least_px:
            raise SchemaError("/size_px", f"must be at least {least_px} for {self.backbone}")

    @property
    def fractions(self) -> dict[str, float]:
        """Wanted share of the frames on each side."""
        rest = 1 - self.tune_fraction - self.test_fraction
        return {"train": rest, "tune": self.tune_fraction, "test": self.test_fraction}

    def builder(self) -> Builder:
        """What builds the detector; an option that is off is left out, as in older specs."""
        backbone = {"backbone": self.backbone, "backbone_params": dict(self.backbone_params)}
        options = {"pooling": (self.pooling, "mean"), "colour": (self.colour, "recorded")}
        chosen = {name: value for name, (value, usual) in options.items() if value != usual}
        return Builder(NAME, backbone | chosen)

    def training(self) -> TrainingConfig:
        """What the shared loop needs."""
        return TrainingConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            precision=self.precision,
            average_decay=self.average_decay,
            patience_epochs=self.patience_epochs,
            max_seconds=self.max_seconds,
            seed=self.seed,
            checkpoint_every_s=self.checkpoint_every_s,
            **self.loop_options(),
        )
