"""The modality adapter: from speech encoder frames to vectors that can stand among the LLM's token embeddings.

VoiceTextBlender uses two Conformer layers (paper section 3; numbers of the released configuration). Two things differ:
the convolution is normalised per frame, because batch statistics would see the dummy clip of a text-only step, and an
output LayerNorm may start at the scale of the LLM's embeddings, which shortens alignment.
"""

from typing import Annotated

import torch
from torch import Tensor, nn

from nemo_vtb.options import Range, Share

Width = Annotated[int, Range(1, 10**6)]


class ConformerAdapter(nn.Module):
    """Conformer layers of NeMo's ASR collection, an output projection and an optional output norm.

    Args:
        feat_in: Dimension of the speech encoder's frames.
        output_dim: The LLM's hidden size.
        d_model: Conformer width.
        n_layers: Conformer layers; the paper has 2.
        n_heads: Attention heads.
        ff_expansion_factor: Feed-forward width over ``d_model``.
        conv_kernel_size: Kernel of the depthwise convolution.
        subsampling_factor: Frames stacked into one before the layers: 1 for 12.5 Hz encoders, 4 for Whisper's 50 Hz.
        dropout: Dropout of the layers.
        dropout_att: Dropout of attention weights.
        output_norm: Whether a LayerNorm follows the projection.
    """

    def __init__(
        self,
        feat_in: int,
        output_dim: int,
        d_model: Width = 1024,
        n_layers: Annotated[int, Range(1, 1000)] = 2,
        n_heads: Width = 8,
        ff_expansion_factor: Width = 4,
        conv_kernel_size: Width = 9,
        subsampling_factor: Annotated[int, Range(1, 1000)] = 1,
        dropout: Share = 0.1,
        dropout_att: Share = 0.1,
        output_norm: bool = True,
    ) -> None:
        super().__init__()
        from nemo.collections.asr.modules import ConformerEncoder

        self.subsampling_factor = subsampling_factor
        self.layers = ConformerEncoder(
            feat_in=feat_in * subsampling_factor,
            n_layers=n_layers,
            d_model=d_model,
            subsampling_factor=1,
            self_attention_model="rel_pos",
            att_context_size=[-1, -1],
            n_heads=n_heads,
            ff_expansion_factor=ff_expansion_factor,
            conv_kernel_size=conv_kernel_size,
            conv_norm_type="layer_norm",
            xscaling=True,
            untie_biases=True,
            dropout=dropout,
            dropout_pre_encoder=dropout,
            dropout_emb=0.0,
            dropout_att=dropout_att,
            # The length is known from the batch; the default all-reduces it over all ranks in every forward pass.
            sync_max_audio_length=False,
        )
        self.proj = nn.Linear(d_model, output_dim)
        self.norm = nn.LayerNorm(output_dim) if output_norm else nn.Identity()

    @torch.no_grad()
    def match_embeddings(self, deviation: Tensor) -> None:
        """Starts the output norm at the standard deviation of the LLM's token embeddings, a scalar."""
        if isinstance(self.norm, nn.LayerNorm):
            self.norm.weight.fill_(deviation)

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Adapts encoder frames.

        Args:
            audio_signal: ``(B, feat_in, frames)``.
            length: ``(B,)`` in frames.

        Returns:
            ``(B, output_dim, ceil(frames / subsampling_factor))`` and lengths ``(B,)``.
        """
        hidden, lengths = _stack_frames(audio_signal, length, self.subsampling_factor)
        hidden, lengths = self.layers(audio_signal=hidden, length=lengths)
        return self.norm(self.proj(hidden.transpose(1, 2))).transpose(1, 2), lengths.to(length.dtype)


def _stack_frames(frames: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Stacks ``factor`` neighbours: ``(B, D, T)`` to ``(B, D * factor, ceil(T / factor))``.

    NeMo's StackingSubsampling derives a clip's length from the longest clip of its batch; here it depends on the clip.
    """
    if factor == 1:
        return frames, lengths
    batch, dim, time = frames.shape
    frames = frames * (torch.arange(time, device=frames.device) < lengths[:, None])[:, None]
    frames = nn.functional.pad(frames, (0, -time % factor))
    frames = frames.reshape(batch, dim, -1, factor).transpose(2, 3).reshape(batch, dim * factor, -1)
    return frames, torch.div(lengths + factor - 1, factor, rounding_mode="floor")
