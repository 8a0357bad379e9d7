"""torch_geometric: convolutions on a graph, trained; batches of graphs, pooling, heterogeneous."""

import torch
from torch.nn import Linear
from torch.nn.functional import cross_entropy, relu
from torch_geometric import nn as gnn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.utils import degree, k_hop_subgraph, to_dense_adj, to_undirected

torch.manual_seed(0)
edges = to_undirected(torch.randint(0, 12, (2, 20)))
data = Data(x=torch.randn(12, 8), edge_index=edges, y=torch.randint(0, 3, (12,)))
print(data, data.is_undirected())


class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.second = kind(8, 16), kind(16, 3)

    def forward(self, x, edge_index):
        return self.second(relu(self.first(x, edge_index)), edge_index)


for kind in (gnn.GCNConv, gnn.GATConv, gnn.SAGEConv, gnn.TransformerConv):
    torch.manual_seed(1)
    model = Net(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = cross_entropy(model(data.x, data.edge_index), data.y)
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 4))
    print(kind.__name__, losses)

print(round(gnn.GINConv(Linear(8, 4))(data.x, edges).sum().item(), 3))
kept = gnn.TopKPooling(8, 0.5)(data.x, edges)
print(tuple(kept[0].shape), tuple(kept[1].shape), round(kept[0].sum().item(), 3))
print(to_dense_adj(edges).sum().item(), degree(edges[0], 12).tolist())
print(k_hop_subgraph(0, 1, edges)[0].tolist())
graphs = [Data(x=torch.randn(n, 4), edge_index=torch.randint(0, n, (2, 6))) for n in (3, 5, 4)]
for batch in DataLoader(graphs, 2, shuffle=True):
    pooled = [f(batch.x, batch.batch) for f in (gnn.global_mean_pool, gnn.global_max_pool)]
    print(batch.num_graphs, batch.batch.tolist(), [round(p.sum().item(), 4) for p in pooled])
