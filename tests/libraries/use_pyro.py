"""pyro: a regression by variational inference with automatic guides, a mixture, and HMC."""

import pyro
import torch
from pyro import distributions as dist
from pyro.infer import HMC, MCMC, SVI, Trace_ELBO, TraceEnum_ELBO, autoguide, config_enumerate
from pyro.optim import Adam

pyro.set_rng_seed(0)
x = torch.randn(40, 3)
y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3 + 0.1 * torch.randn(40)


def line(x, y):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    bias = pyro.sample("bias", dist.Normal(0.0, 1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(x @ weight + bias, noise), obs=y)


@config_enumerate
def mixture(data):
    share = pyro.sample("share", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("parts", 2):
        place = pyro.sample("place", dist.Normal(0.0, 3.0))
    with pyro.plate("data", len(data)):
        part = pyro.sample("part", dist.Categorical(share))
        pyro.sample("x", dist.Normal(place[part], 0.5), obs=data)


for kind in (autoguide.AutoDiagonalNormal, autoguide.AutoDelta):
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    svi = SVI(line, kind(line), Adam({"lr": 0.03}), Trace_ELBO())
    print(kind.__name__, [round(svi.step(x, y), 2) for _ in range(4)])

pyro.clear_param_store()
pyro.set_rng_seed(2)
guide = autoguide.AutoDelta(pyro.poutine.block(mixture, expose=["share", "place"]))
svi = SVI(mixture, guide, Adam({"lr": 0.1}), TraceEnum_ELBO(max_plate_nesting=1))
data = torch.tensor([-2.0, -2.1, 1.9, 2.0, 2.2])
print("mixture", [round(svi.step(data), 3) for _ in range(4)])

pyro.set_rng_seed(3)
kernel = HMC(line, step_size=0.02, num_steps=3, adapt_step_size=False)
chain = MCMC(kernel, num_samples=4, warmup_steps=2, disable_progbar=True)
chain.run(x, y)
print("HMC", [round(v, 3) for v in chain.get_samples()["weight"].mean(0).tolist()])
