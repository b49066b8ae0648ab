"""An embedding, attention, and one layer that runs twice."""

from __future__ import annotations

from tests.tiny import paddle

nn = paddle.nn


class Words(nn.Layer):
    """An embedding, attention, a LayerNorm, and a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.attention = nn.MultiHeadAttention(8, 4)
        self.norm = nn.LayerNorm(8)
        self.twice = nn.Linear(8, 8)
        self.again = self.twice
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.norm(self.attention(self.embed(x)))
        return self.head(self.again(paddle.tanh(self.twice(x))))


IDS = paddle.to_tensor([[1, 5, 0], [8, 2, 2]])
