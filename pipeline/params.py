"""The hyperparameters of `params.yaml`, typed and checked before any work is done."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Self, get_type_hints
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from datasets import DATASETS
from pipeline.reading import load_yaml, validated
from vae.model import LIKELIHOODS, NETWORKS, OBJECTIVES, POSTERIORS, PRIORS
from vae.model.architecture import Architecture, Shape
from vae.training import SCHEDULES
from vae.training.settings import Settings


def _not_bool(value: object) -> object:
    if isinstance(value, bool):  # an int to Python, never to a person
        raise ValueError("should be a number, not true or false")
    return value


def _device(name: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps|auto", name):
        raise ValueError("should be cpu, cuda, cuda:N, mps or auto")
    return name


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https", "file") and bool(parts.netloc or parts.path)
        known = known and "@" not in parts.netloc and isinstance(parts.port, int | None)
    except ValueError:  # brackets without an address, a port that is no number
        known = False
    if not known or "://" not in url:
        raise ValueError(
            "should be null or a URL that starts with http://, https:// or file://, without a user "
            "name and password, which the download would not send"
        )
    return url.rstrip("/")


Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool), AfterValidator(lambda x: x + 0.0)]  # no -0.0
# Upper bounds are beyond what a machine can serve, and below where libraries fail in odd ways.
Count = Annotated[Int, Field(ge=1, le=10**6)]
Images = Annotated[Int, Field(ge=1, le=10**9)]
Seed = Annotated[Int, Field(ge=0, le=2**63 - 1)]
Device = Annotated[str, AfterValidator(_device)]


class Section(BaseModel):
    # Lax types on purpose: YAML 1.1 reads 1e-3 as a string, and `-S lr=1` writes an int.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Prepare(Section):
    dataset: Literal[*DATASETS]  # type: ignore[valid-type]
    folder: Annotated[str, Field(min_length=1)]
    image_size: Annotated[Int, Field(ge=1, le=1024)]
    channels: Annotated[Literal[1, 3], BeforeValidator(_not_bool)]
    binarization: Literal["threshold", "stochastic", "none"]
    threshold: Annotated[Int, Field(ge=0, le=254)]
    validation_size: Images
    limit: Images | None
    seed: Seed
    mirror: Annotated[str, AfterValidator(_url)] | None


class ModelParts(Section):
    network: Literal[*NETWORKS]  # type: ignore[valid-type]
    latent_dim: Count
    likelihood: Literal[*LIKELIHOODS]  # type: ignore[valid-type]
    posterior: Literal[*POSTERIORS]  # type: ignore[valid-type]
    prior: Literal[*PRIORS]  # type: ignore[valid-type]
    conditional: bool

    def settings_of(self, network: str) -> dict[str, Any]:
        return {
            its.name: getattr(self, its.name) for its in fields(resolve_name(NETWORKS[network]))
        }

    def architecture(self, shape: Shape, classes: int) -> Architecture:
        """The architecture for images of that shape and number of classes."""
        parts = {name: getattr(self, name) for name in ModelParts.model_fields}
        parts["classes"] = classes if parts.pop("conditional") else 0
        return Architecture(shape, settings=self.settings_of(self.network), **parts)

    @model_validator(mode="after")
    def _settings_of_networks(self) -> Self:
        for network, place in NETWORKS.items():
            try:
                resolve_name(place)(**self.settings_of(network))
            except ValueError as error:
                raise ValueError(f"model.{error}") from None
        return self


def _with_networks_settings() -> type[ModelParts]:
    """The section `model`, to which each network adds its settings."""
    checked = {int: Int, float: Float, tuple[int, ...]: tuple[Int, ...]}
    settings: dict[str, Any] = {}
    for network in map(resolve_name, NETWORKS.values()):
        types = {name: checked.get(its, its) for name, its in get_type_hints(network).items()}
        for its in fields(network):
            another = settings.get(its.name, (types[its.name],))[0] != types[its.name]
            if another or its.name in ModelParts.model_fields or its.default is MISSING:
                raise TypeError(
                    f"{network.__name__}.{its.name}: a network's setting has a default value, a "
                    f"name that is no other parameter of the section model, and the type that it "
                    f"has in other networks"
                )
            settings[its.name] = types[its.name], its.default
    return create_model("Model", __base__=ModelParts, **settings)


Model: Any = _with_networks_settings()


def check_precision(section: "Train | Evaluate", name: str) -> None:
    if section.precision == "bfloat16" and section.numerics == "portable":
        raise ValueError(
            f"{name}.precision = 'bfloat16' with {name}.numerics = 'portable': its bits differ "
            f"from processor to processor; set {name}.numerics to native"
        )


class Train(Section):
    device: Device
    seed: Seed
    decoder_bias: Literal["random", "log_odds"]
    epochs: Count
    batch_size: Count
    shards: Annotated[Int, Field(ge=1, le=1024)]
    learning_rate: Annotated[Float, Field(gt=0, le=1000)]
    schedule: Literal[*SCHEDULES]  # type: ignore[valid-type]
    weight_decay: Annotated[Float, Field(ge=0, le=1000)]
    objective: Literal[*OBJECTIVES]  # type: ignore[valid-type]
    importance_samples: Count
    gradient: Literal["reparameterized", "stl", "dreg"]
    kl_weight: Annotated[Float, Field(ge=0, le=10**6)]
    keep: Literal["last", "best"]
    grids: Annotated[Int, Field(ge=0, le=1000)]
    numerics: Literal["portable", "native"]
    precision: Literal["float32", "bfloat16"]

    def settings(self) -> Settings:
        """What the library takes of these."""
        return Settings(**self.model_dump(exclude={"device", "numerics"}))

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        self.settings()
        check_precision(self, "train")
        return self


class Evaluate(Section):
    device: Device
    numerics: Literal["portable", "native"]
    precision: Literal["float32", "bfloat16"]
    elbo_samples: Count
    importance_samples: Count
    proposal_steps: Annotated[Int, Field(ge=0, le=10**6)]
    seed: Seed

    @model_validator(mode="after")
    def _precision_fits(self) -> Self:
        check_precision(self, "evaluate")
        return self


class Sample(Section):
    device: Device
    num_images: Annotated[Int, Field(ge=1, le=10_000)]
    columns: Count
    seed: Seed


class Params(Section):
    prepare: Prepare
    model: Model
    train: Train
    evaluate: Evaluate
    sample: Sample

    @model_validator(mode="after")
    def _likelihood_fits(self) -> Self:
        takes = resolve_name(LIKELIHOODS[self.model.likelihood]).levels
        binarization = self.prepare.binarization
        there = 256 if binarization == "none" else 2
        if takes != there:
            other = "none" if takes > 2 else "threshold or stochastic"
            raise ValueError(
                f"model.likelihood = {self.model.likelihood!r} with prepare.binarization = "
                f"{binarization!r}: it takes pixels of {takes} levels, not of {there}; set "
                f"prepare.binarization to {other}"
            )
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and checks every section, whichever stage asks. Raises UserError or Refusal."""
    return validated(Params, load_yaml(path), str(path))
