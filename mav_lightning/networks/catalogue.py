"""The classes that a folder somebody shared may build: a closed list, by name.

A stored network describes itself in JSON. That description comes from strangers, so a class outside this list is
neither imported nor called. The only exception is a class of a package that the user has allowed in so many words.
"""

import collections.abc
import functools
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_origin

from torch import nn

from mav_lightning.common.allowed import import_class, is_allowed
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.hints import Misfit, WrongClass, describe
from mav_lightning.common.schema import check_call

__all__ = ["CATALOGUE", "build_network", "describe_network", "node_of"]

_LARGEST, _LONGEST = 1 << 20, 64  # no network has a larger size or a longer list among its arguments

# Name in network.json → class.
CATALOGUE = {
    "SpaceTimeUNet": "mav_lightning.nn.unet.SpaceTimeUNet",
    "PriorTransformer": "mav_lightning.nn.prior_transformer.PriorTransformer",
    "RidgePrior": "mav_lightning.nn.ridge_prior.RidgePrior",
    "SmallCLIP": "mav_lightning.nn.small_clip.SmallCLIP",
    "HuggingFaceCLIP": "mav_lightning.modules.huggingface_clip.HuggingFaceCLIP",
    "EDMDenoiser": "mav_lightning.diffusion.denoiser.EDMDenoiser",
    "EpsDenoiser": "mav_lightning.diffusion.denoiser.EpsDenoiser",
    "VDenoiser": "mav_lightning.diffusion.denoiser.VDenoiser",
    "FlowDenoiser": "mav_lightning.diffusion.denoiser.FlowDenoiser",
    "HybridDenoiser": "mav_lightning.diffusion.denoiser.HybridDenoiser",
    "X0Denoiser": "mav_lightning.diffusion.denoiser.X0Denoiser",
    "DiffusionPrior": "mav_lightning.diffusion.diffusion_prior.DiffusionPrior",
    "MakeAVideoUNet": "mav_lightning.baselines.make_a_video_pytorch.SpaceTimeUnet",
    "DiffusersUNet": "mav_lightning.baselines.diffusers.UNet3D",
    "GrownUNet": "mav_lightning.pretrained.grown_unet.GrownUNet",
    "LatentVAE": "mav_lightning.pretrained.latent_vae.LatentVAE",
    "LastStepExpert": "mav_lightning.pretrained.last_step_expert.LastStepExpert",
    "VideoNetwork": "mav_lightning.pretrained.video_network.VideoNetwork",
    "StableUnclipImageEncoder": "mav_lightning.pretrained.stable_unclip.StableUnclipImageEncoder",
    "AbsentPrior": "mav_lightning.pretrained.stable_unclip.AbsentPrior",
    "UnclipPrior": "mav_lightning.pretrained.unclip_prior.UnclipPrior",
    "UnclipPriorNetwork": "mav_lightning.pretrained.unclip_prior.UnclipPriorNetwork",
    "UnclipTextEncoder": "mav_lightning.pretrained.unclip_text.UnclipTextEncoder",
}


def node_of(kind: Callable[..., Any], /, **arguments: Any) -> dict[str, Any]:
    """Return the config node that builds an object of a class.

    Args:
        kind: The class.
        **arguments: Its arguments: plain values and nodes.
    """
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **arguments}


def describe_network(node: Mapping[str, Any], path: str = "network") -> dict[str, Any]:
    """Turn the config node that builds a network into the description that is stored with its weights.

    Args:
        node: Resolved node with ``_target_``, or with ``_network_`` for a stored network, which is described as it is.
        path: Dotted path of the node, for messages.

    Raises:
        UserError: If a class is neither in the catalogue nor of an allowed package, so it could not be read again.
    """
    if "_network_" in node:
        from mav_lightning.networks.card import read_card

        return read_card(node["_network_"]).network
    target = str(node.get("_target_"))
    names = {dotted: name for name, dotted in CATALOGUE.items()}
    if target not in names and not is_allowed(target.rpartition(".")[0]):
        raise UserError(f"{path}: `{target}` cannot be stored; networks on disk are {', '.join(CATALOGUE)}.")
    described: dict[str, Any] = {"class": names.get(target, target)}
    for key, value in node.items():
        if key == "_partial_" and value:  # a class that the network around it builds, such as a temporal layer
            described["partial"] = True
        elif key not in ("_target_", "_partial_"):
            nested = isinstance(value, Mapping) and not {"_target_", "_network_"}.isdisjoint(value)
            described[key] = describe_network(value, f"{path}.{key}") if nested else value
    return described


def build_network(description: Mapping[str, Any], path: str) -> nn.Module:
    """Build a network from its description; its weights are those of a new network.

    Args:
        description: ``{"class": NAME, argument: value, …}``, see `describe_network`.
        path: File and key of the description, for messages.

    Raises:
        UserError: If a class is not in the catalogue, an argument does not fit its signature, or a size is absurd.
    """
    _demand_sane(description, path)
    network = _build(description, nn.Module, path)
    assert isinstance(network, nn.Module)
    return network


def _build(value: Any, hint: Any, path: str) -> Any:
    """Build what a description describes; plain values pass where the hint allows them."""
    kind = get_origin(hint) or hint
    if not isinstance(value, Mapping) or "class" not in value:
        raise Misfit(path, describe(hint).replace("`_target_`", "`class`"), value)
    target = _class(value["class"], f"{path}.class")
    if (
        isinstance(kind, type)
        and kind is not Any
        and not getattr(kind, "_is_protocol", False)
        and not issubclass(target, kind)
    ):
        raise WrongClass(f"{path}.class: a {target.__name__} is not a {kind.__name__}, which is needed here.")
    plain = {key: item for key, item in value.items() if key not in ("class", "partial")}
    partial = value.get("partial") is True
    if partial and kind is not collections.abc.Callable:
        raise UserError(f"{path}: `partial: true` leaves the {getattr(kind, '__name__', kind)} incomplete; remove it.")
    arguments = check_call(target, plain, path, partial=partial, node=_build)
    if partial:
        return functools.partial(target, **arguments)
    try:
        return target(**arguments)
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise UserError(f"{path}: a {target.__name__} cannot be built of these arguments ({error}).") from error


def _class(name: object, path: str) -> type[nn.Module]:
    if not isinstance(name, str):
        raise UserError(f"{path}: must be the name of a network, got {name!r}.")
    if name in CATALOGUE:
        shipped: type[nn.Module] = pkgutil.resolve_name(CATALOGUE[name])
        return shipped
    if "." not in name:
        raise UserError(
            f"{path}: there is no network `{name}`; there are {', '.join(CATALOGUE)}.",
            suggestion=nearest(name, CATALOGUE),
        )
    found = import_class(name)
    if not issubclass(found, nn.Module):
        raise UserError(f"{path}: `{name}` is not a torch.nn.Module.")
    return found


def _demand_sane(description: Any, path: str) -> None:
    for where, value in _leaves(description, path):
        if isinstance(value, list) and len(value) > _LONGEST:
            raise UserError(f"{where}: has {len(value)} items; at most {_LONGEST} are accepted.")
        if isinstance(value, int | float) and abs(value) > _LARGEST:
            raise UserError(f"{where}: must be between -{_LARGEST} and {_LARGEST}, got {value:g}.")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
