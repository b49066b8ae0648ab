"""The predecessor's width training: paddleslim and paddlenlp as their example drives them.

Only what keeps it from running on paddle 3.3.1 is repaired; ``REPAIRS`` says what. Its algorithm,
its teacher forward for every width and its gradients are left as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

REPAIRS = (
    "SuperEmbedding and SuperLayerNorm pass on their arguments by name: by position they raise",
    "SuperLayerNorm.forward takes the one tensor that the operator returns: unpacking it raises",
    "BERT's attention is PaddleNLP's, with the 1/sqrt(d) scale that PaddleSlim's has lost",
)
LAMBDA_REP, LAMBDA_LOGIT = 0.1, 1.0


def make_supernet(config: Any, weights: Mapping[str, paddle.Tensor]) -> Any:
    """Convert a BERT to their supernet, with a copy of it as teacher.

    Args:
        config: our ModelConfig of the network.
        weights: its parameters, under the names that ours and PaddleNLP's have in common.

    Returns:
        Their OFA object.
    """
    _repair()
    from paddleslim.nas.ofa import OFA, DistillConfig, utils
    from paddleslim.nas.ofa.convert_super import Convert, supernet

    model, teacher = _their_model(config, weights), _their_model(config, weights)
    model = Convert(supernet(expand_ratio=[1.0, 0.5])).convert(model)
    utils.set_state_dict(model, dict(weights))
    mapping = ["bert.embeddings"]
    mapping += [f"bert.encoder.layers.{layer}" for layer in range(config.num_layers)]
    distillation = DistillConfig(
        lambda_distill=LAMBDA_REP, teacher_model=teacher, mapping_layers=mapping
    )
    ofa = OFA(model, distill_config=distillation, elastic_order=["width"])
    ofa.set_epoch(0)
    ofa.set_task("width")
    return ofa


def score_and_reorder(ofa: Any, batches: Iterable[Any], config: Any) -> None:
    """Score heads and neurons their way, gradients piling up and all, and sort them."""
    from paddlenlp.transformers.ofa_utils import compute_neuron_head_importance, reorder_neuron_head

    loader = [[batch.input_ids, batch.token_type_ids, batch.labels] for batch in batches]
    importance = compute_neuron_head_importance(
        ofa.model, loader, config.num_layers, config.num_attention_heads[0]
    )
    reorder_neuron_head(ofa.model, *importance)


def make_optimizer(ofa: Any, learning_rate: float) -> paddle.optimizer.AdamW:
    """Make the optimizer of their example; it clips no gradient."""
    return paddle.optimizer.AdamW(
        learning_rate=learning_rate, epsilon=1e-8, parameters=ofa.model.parameters()
    )


def train_step(
    ofa: Any, batch: Any, widths: Sequence[float], optimizer: paddle.optimizer.AdamW
) -> list[float]:
    """Take one step over all widths; give the loss of each."""
    losses = []
    for width_mult in widths:
        _set_width(ofa, width_mult)
        logits, teacher_logits = ofa(
            batch.input_ids, batch.token_type_ids, attention_mask=[None, None]
        )
        target = F.softmax(teacher_logits.detach(), axis=-1)
        logit_loss = -(F.log_softmax(logits, axis=-1) * target).sum(axis=-1).mean()
        loss = ofa.calc_distill_loss() + LAMBDA_LOGIT * logit_loss
        loss.backward()
        losses.append(loss.item())
    optimizer.step()
    optimizer.clear_grad()
    return losses


def evaluate(ofa: Any, batches: Iterable[Any], widths: Sequence[float]) -> list[float]:
    """Give the accuracy of each width; as in their example the teacher answers every batch too."""
    accuracies = []
    ofa.model.eval()
    for width_mult in widths:
        _set_width(ofa, width_mult)
        right = []
        with paddle.no_grad():
            for batch in batches:
                logits, _ = ofa(batch.input_ids, batch.token_type_ids, attention_mask=[None, None])
                right.append((logits.argmax(axis=-1) == batch.labels).numpy())
        accuracies.append(float(np.concatenate(right).mean()))
    ofa.train()
    return accuracies


def _set_width(ofa: Any, width_mult: float) -> None:
    from paddleslim.nas.ofa import utils

    ofa.set_net_config(utils.dynabert_config(ofa, width_mult))


def _their_model(config: Any, weights: Mapping[str, paddle.Tensor]) -> Any:
    from paddlenlp.transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_attention_heads[0],
            intermediate_size=config.intermediate_size[0],
            hidden_dropout_prob=config.hidden_dropout_prob,
            attention_probs_dropout_prob=config.attention_probs_dropout_prob,
            max_position_embeddings=config.max_position_embeddings,
            type_vocab_size=config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            num_labels=config.num_classes,
        )
    )
    model.set_state_dict(dict(weights))
    return model


def _repair() -> None:
    """Make their classes run on this paddle, in this process."""
    from paddlenlp.trainer.trainer_compress import auto_model_dynabert_forward
    from paddlenlp.transformers import BertModel, ofa_utils
    from paddleslim.nas.ofa import layers
    from paddleslim.nas.ofa.utils import nlp_utils  # noqa: F401 - replaces paddle's attention

    layers.SuperEmbedding.__init__ = _embedding_init
    layers.SuperLayerNorm.__init__ = _layer_norm_init
    layers.SuperLayerNorm.forward = _layer_norm_forward
    paddle.nn.MultiHeadAttention.forward = ofa_utils.mha_ofa_forward
    paddle.nn.MultiHeadAttention._prepare_qkv = ofa_utils.prepare_qkv_ofa
    paddle.nn.TransformerEncoder.forward = ofa_utils.encoder_ofa_forward
    paddle.nn.TransformerEncoderLayer.forward = ofa_utils.encoder_layer_ofa_forward
    # Their example replaces this forward too, to take a list of two masks.
    BertModel.forward = auto_model_dynabert_forward


def _embedding_init(
    self,
    num_embeddings,
    embedding_dim,
    candidate_config=None,
    padding_idx=None,
    sparse=False,
    weight_attr=None,
    name=None,
):
    paddle.nn.Embedding.__init__(
        self, num_embeddings, embedding_dim, padding_idx, sparse=sparse, weight_attr=weight_attr
    )
    self.candidate_config = candidate_config or {}
    self.cur_config = None
    self.expand_ratio = self.candidate_config.get("expand_ratio")
    largest = max(self.expand_ratio) if self.expand_ratio else 1
    self.base_output_dim = int(embedding_dim / largest)


def _layer_norm_init(
    self, normalized_shape, epsilon=1e-5, weight_attr=None, bias_attr=None, name=None
):
    paddle.nn.LayerNorm.__init__(
        self, normalized_shape, epsilon, weight_attr=weight_attr, bias_attr=bias_attr
    )
    self.cur_config = None


def _layer_norm_forward(self, x):
    size = x.shape[-1]
    self.cur_config = {"prune_dim": size}
    weight, bias = self.weight, self.bias
    if weight.shape[0] > size:
        weight, bias = weight[:size], bias[:size]
    return F.layer_norm(x, [size], weight, bias, self._epsilon)
