"""Writing the codec into a model repository: both networks with their configurations, and the frozen prior."""

from pathlib import Path

from semface.codec.prior import ANALYSIS_MODEL, LATENT_SIZE, SYNTHESIS_MODEL, prior_path
from semface.descriptors import DESCRIPTOR_SIZE
from training import codec_prior
from training.codec_network import Analysis, CodecNetwork, Synthesis
from training.network_export import Port, export_network


def export(network: CodecNetwork, prior: codec_prior.Frozen, repository: Path) -> None:
    """Write ``codec_analysis``, ``codec_synthesis`` and ``prior.npz`` into ``repository``."""
    descriptors, latents = Port("descriptors", (DESCRIPTOR_SIZE,)), Port("latents", (LATENT_SIZE,))
    export_network(Analysis(network), repository / ANALYSIS_MODEL, descriptors, latents)
    export_network(Synthesis(network), repository / SYNTHESIS_MODEL, latents, descriptors)
    codec_prior.write(prior_path(repository), prior)
