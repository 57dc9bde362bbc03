"""Tiny networks of transformers with random weights; nothing is downloaded."""

import torch

REASON = "transformers are not installed (extra transformers)"


def segformer(num_labels: int = 3) -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_labels=num_labels,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
    )
    return lively(transformers.SegformerForSemanticSegmentation(config))


def _swin():
    import transformers

    return transformers.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


_DECODER = {
    "hidden_dim": 32,
    "encoder_feedforward_dim": 32,
    "encoder_layers": 1,
    "num_attention_heads": 2,
    "dim_feedforward": 32,
    "num_queries": 6,
    "num_labels": 3,
}


def mask2former() -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    config = transformers.Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, decoder_layers=2, **_DECODER
    )
    return lively(transformers.Mask2FormerForUniversalSegmentation(config))


def oneformer() -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    config = transformers.OneFormerConfig(
        backbone_config=_swin(),
        mask_dim=32,
        conv_dim=32,
        decoder_layers=3,
        query_dec_layers=1,
        task_seq_len=8,
        max_seq_len=8,
        is_training=False,
        use_auxiliary_loss=False,
        **_DECODER,
    )
    model = transformers.OneFormerForUniversalSegmentation(config)
    torch.manual_seed(6)  # of which queries find different classes
    return lively(model)


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """As they are made they find one class everywhere."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                # So that queries differ in what they find.
                parameter.normal_(std=5 if "class_" in name or "queries" in name else 0.3)
    return model.eval()
