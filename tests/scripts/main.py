"""A program with a main: arguments, logging, workers, meters, devices, a profiler."""

import argparse
import logging
import os
import random
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.autograd import Variable
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")


def seed_everything(seed):
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


class DS(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"x": np.full(4, i % 7, dtype=np.float32), "y": i % 2, "id": f"s{i}"}


def worker_init(i):
    np.random.seed(torch.initial_seed() % 2**32)


class AverageMeter:
    def __init__(self):
        self.s = self.n = 0

    def update(self, v, n=1):
        self.s += v * n
        self.n += n

    @property
    def avg(self):
        return self.s / self.n


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        maxk = max(topk)
        bs = target.size(0)
        _, pred = output.topk(maxk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / bs) for k in topk]


def main():
    parser = argparse.ArgumentParser(description="PyTorch Example")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--no-cuda", action="store_true", default=False)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--dist-backend", default="gloo")
    args = parser.parse_args()
    args.cuda = not args.no_cuda and torch.cuda.is_available()
    seed_everything(1)
    device = torch.device(
        "cuda" if args.cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    kw = (
        {"num_workers": 2, "pin_memory": True, "persistent_workers": True}
        if args.cuda
        else {"num_workers": 2}
    )
    logging.info(
        "device %s, gpus %d, threads %s",
        device,
        torch.cuda.device_count(),
        torch.get_num_threads() > 0,
    )
    dl = DataLoader(
        DS(32),
        batch_size=args.batch_size,
        shuffle=True,
        worker_init_fn=worker_init,
        generator=torch.Generator().manual_seed(0),
        **kw,
    )
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model = nn.DataParallel(model) if torch.cuda.device_count() > 1 else model
    model.to(device)
    opt = optim.Adam(model.parameters(), lr=1e-2)
    crit = nn.CrossEntropyLoss().to(device)
    for ep in range(args.epochs):
        model.train()
        lm = AverageMeter()
        am = AverageMeter()
        for i, batch in enumerate(dl):
            x = batch["x"].to(device, non_blocking=True)
            y = batch["y"].to(device, non_blocking=True)
            x, y = Variable(x), Variable(y)
            o = model(x)
            loss = crit(o, y)
            a1, a2 = accuracy(o, y, (1, 2))
            lm.update(loss.item(), x.size(0))
            am.update(a1[0].item())
            opt.zero_grad()
            loss.backward()
            opt.step()
            if i == 0:
                print(batch["id"], batch["y"].dtype, x.dtype)
        if args.cuda:
            torch.cuda.synchronize()
            print(torch.cuda.max_memory_allocated())
        print(f"Epoch: [{ep}] loss {lm.avg:.4f} acc {am.avg:.2f} top2 {a2.item():.1f}")
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, record_shapes=True) as prof, record_function("inference"):
        model(x)
    t = prof.key_averages().table(sort_by="cpu_time_total", row_limit=3)
    print("inference" in t)
    dp = nn.DataParallel(model)
    print(dp(x).shape, type(dp.module).__name__, next(iter(dp.state_dict())))
    print(
        torch.get_float32_matmul_precision(),
        torch.version.cuda,
        torch.are_deterministic_algorithms_enabled(),
    )
    try:
        torch.zeros(1).cuda()
    except AssertionError as e:
        print(str(e)[:33])
    try:
        torch.load("/nonexistent.pt")
    except FileNotFoundError as e:
        print(e)
    sampler = DistributedSampler(DS(10), num_replicas=2, rank=0, shuffle=True, seed=3)
    sampler.set_epoch(1)
    print(list(sampler))
    print(__name__, os.path.basename(__file__), sys.argv[1:])


if __name__ == "__main__":
    main()
