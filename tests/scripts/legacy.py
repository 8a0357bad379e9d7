"""The spelling of old programs: Variable, .data, FloatTensor, and the functions they call."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init
from torch.autograd import Variable

torch.manual_seed(0)
dtype = torch.FloatTensor
x = Variable(torch.randn(8, 10).type(dtype), requires_grad=False)
y = Variable(torch.randn(8, 2).type(dtype), requires_grad=False)
w1 = Variable(torch.randn(10, 5).type(dtype), requires_grad=True)
w2 = Variable(torch.randn(5, 2).type(dtype), requires_grad=True)
for t in range(3):
    yp = x.mm(w1).clamp(min=0).mm(w2)
    loss = (yp - y).pow(2).sum()
    print(t, loss.data.item())
    loss.backward()
    w1.data -= 1e-3 * w1.grad.data
    w2.data -= 1e-3 * w2.grad.data
    w1.grad.data.zero_()
    w2.grad.data.zero_()
t = torch.Tensor(2, 3).fill_(1)
print(
    t,
    torch.Tensor([1, 2]),
    torch.LongTensor([1, 2]),
    torch.ByteTensor([0, 1]),
    torch.Tensor(),
    torch.IntTensor(2).zero_(),
    torch.DoubleTensor([[1]]),
    torch.BoolTensor([True]),
    isinstance(t, torch.FloatTensor),
    t.type(),
    torch.tensor([1]).type("torch.FloatTensor"),
    t.type_as(torch.LongTensor()),
    torch.is_tensor(t),
    t.new(2).shape,
    t.new_tensor([1, 2]),
    torch.FloatTensor(np.ones(2)),
    torch.from_numpy(np.ones(2, dtype=np.int64)).float(),
)
init.xavier_uniform_(w1.data)
init.kaiming_normal_(w1.data, a=0, mode="fan_in")
init.orthogonal_(w1.data)
init.constant_(w1, 0.1)
init.dirac_(torch.empty(2, 2, 3))
init.sparse_(w1.data, 0.5)
print(w1.sum().item(), init.calculate_gain("leaky_relu", 0.2))
print(
    F.sigmoid(t),
    F.tanh(t),
    F.softmax(t, dim=1),
    F.relu(t, inplace=True).sum(),
    F.log_softmax(t, 1),
    F.dropout(t, training=False).sum(),
    F.logsigmoid(t)[0],
    F.softplus(t)[0],
    F.one_hot(torch.tensor([0, 2]), 3),
    F.normalize(t, dim=1),
    F.pad(t, (1, 0)),
    F.unfold(torch.ones(1, 1, 3, 3), 2).shape,
    F.embedding(torch.tensor([0]), t),
    F.huber_loss(t, t + 2),
    F.gumbel_softmax(t, hard=True).sum(),
    F.glu(torch.ones(2, 4)),
    F.hardswish(t)[0],
    F.mish(t)[0],
    F.threshold(t, 2, 0),
    F.cosine_embedding_loss(t, t, torch.ones(2)),
    F.layer_norm(t, (3,)),
    F.max_pool1d(torch.arange(6.0).view(1, 1, 6), 2),
    F.adaptive_avg_pool1d(torch.arange(6.0).view(1, 1, 6), 3),
    F.interpolate(torch.arange(4.0).view(1, 1, 4), scale_factor=2, mode="nearest"),
    F.conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2), stride=2),
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.i2h = nn.Linear(7, 4)
        self.i2o = nn.Linear(7, 3)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, i, h):
        c = torch.cat((i, h), 1)
        h = self.i2h(c)
        o = self.softmax(self.i2o(c))
        return o, h

    def initHidden(self):
        return Variable(torch.zeros(1, 4))


rnn = Net()
crit = nn.NLLLoss()
tot = 0
for it in range(4):
    h = rnn.initHidden()
    rnn.zero_grad()
    inp = Variable(torch.eye(3)[torch.tensor([0, 2, 1])].unsqueeze(1))
    for k in range(3):
        o, h = rnn(inp[k], h)
    loss = crit(o, Variable(torch.LongTensor([it % 3])))
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-0.05)
    tot += loss.data.item()
    top_n, top_i = o.data.topk(1)
    print(tot, top_i[0][0].item())
print(
    torch.max(o.data, 1)[1].view(1, 1),
    o.max(1, keepdim=True)[1],
    o.data.cpu().numpy().argmax(),
    (o.max(1)[1] == 1).sum().data.item(),
    o.size()[0],
    o.view(o.size(0), -1).shape,
    o.squeeze().size(),
    torch.sum(o).detach().cpu().numpy(),
    np.mean([loss.item()]),
    np.array(o.detach()).shape,
    np.sqrt(torch.tensor([4.0])),
    torch.tensor([1.0, 2.0]) * np.float32(2),
    np.float64(2) * torch.tensor([1.0]),
    np.ones(2) * 1.0 + np.asarray(torch.ones(2)),
    torch.ones(2).numpy().dtype,
)
print(
    torch.lt(t, 2).all(),
    t.ge(1).any(),
    torch.eq(t, t).float().mean(),
    t.ne(1).sum(),
    torch.equal(t, t),
    torch.numel(t),
    torch.manual_seed(3).initial_seed(),
    torch.initial_seed(),
    torch.get_default_dtype(),
    torch.rsqrt(t)[0],
    torch.addcmul(t, t, t, value=2)[0],
    torch.clamp(t, 0, 0.5)[0],
    torch.lerp(t, t * 2, 0.5)[0],
    torch.where(t > 0, t, -t)[0],
    torch.masked_select(t, t > 0).shape,
    torch.gather(t, 1, torch.zeros(2, 1, dtype=torch.long)),
    torch.fmod(t, 0.3)[0],
    torch.cross(t, t, dim=1).sum(),
    torch.trace(torch.eye(3)),
    torch.dot(t[0], t[1]),
    torch.mv(t, t[0]),
    torch.std_mean(t),
    torch.var_mean(t),
    torch.prod(t),
    torch.cumprod(t, 1)[0],
    torch.logsumexp(t, 1),
    torch.norm(t),
    t.norm(1, dim=1),
    torch.renorm(t, 2, 0, 1.0),
    torch.dist(t, t),
    torch.nonzero(t)[:2],
    torch.tril(t),
    torch.diag(t[0]),
    torch.index_select(t, 0, torch.tensor([1])),
    torch.unbind(t)[0],
    torch.reciprocal(t)[0],
    torch.sign(t)[0],
    torch.frac(t)[0],
    torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3])),
    torch.combinations(torch.arange(3)),
    torch.arange(3).tolist(),
    torch.logspace(0, 1, 3),
    torch.randperm(5),
    torch.randint(0, 9, (3,)),
    torch.normal(0.0, torch.ones(3)),
    torch.normal(2, 3, size=(1, 4)),
    torch.bernoulli(torch.full((3,), 0.5)),
    torch.empty(3).exponential_(),
    torch.empty(3).uniform_(-1, 1),
    torch.empty(2).normal_(),
    torch.poisson(torch.ones(3) * 4),
    torch.empty(2).cauchy_(),
    torch.empty(2).geometric_(0.5),
    torch.empty(2).log_normal_(),
    torch.empty(4).random_(0, 10),
    torch.rand(2, generator=torch.Generator().manual_seed(1)),
)
