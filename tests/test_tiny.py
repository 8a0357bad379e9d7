"""The smoke tests: one short look at each part, without the oracle, in seconds."""

import pytest

import torchlike as torch
from torchlike import compiler, nn
from torchlike.utils.data import DataLoader, TensorDataset


def test_numbers_and_text():
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (a @ a - 2 * a).tolist() == [[5.0, 6.0], [9.0, 14.0]]
    assert repr(a.mean()) == "tensor(2.5000)"
    assert torch.arange(3).dtype is torch.int64


def test_views_share_memory():
    a = torch.zeros(2, 3)
    a.t()[1:].fill_(7)
    a[0] += 1
    assert a.tolist() == [[1, 8, 8], [0, 7, 7]]


def test_gradients():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x.square().sum() + x.prod()).backward()
    assert x.grad.tolist() == [2 + 6, 4 + 3, 6 + 2]
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(()).backward()


def test_the_seed_gives_pytorchs_numbers():
    torch.manual_seed(0)
    expected = [0.4962566, 0.7682218, 0.0884774]
    assert torch.rand(3).tolist() == pytest.approx(expected, abs=1e-7)
    assert torch.randperm(5).tolist() == [0, 4, 2, 1, 3]


def test_an_epoch_of_training(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(48, 4)
    y = (x.sum(1) > 0).long()
    batches = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for epoch in range(8):
        if epoch == 4:
            compiler.clear_stats()
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        schedule.step()
    assert torch.stack(losses[-3:]).mean() < 0.5 * losses[0]
    assert compiler.stats()["syncs"] <= 5  # no step waits for its own result

    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    again = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    again.load_state_dict(torch.load(path))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model.eval()(x))


def test_errors_name_the_values():
    with pytest.raises(RuntimeError, match=r"\(2x3 and 2x3\)"):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        torch.zeros(2)[5]
