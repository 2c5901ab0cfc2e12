"""The protocol that recommendations are judged by: what is hidden of a graph, and whom it is held against.

The same as that of `tidings evaluate`.
"""
import gzip

import numpy as np

U64 = np.uint64
TEST_SEED = 42


def splitmix(x):
    with np.errstate(over="ignore"):
        z = x + U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
        return z ^ (z >> U64(31))


def hash_of(seed, a, b):
    return splitmix(splitmix(U64(seed) ^ np.asarray(a).astype(U64)) ^ np.asarray(b).astype(U64))


def both_ways(edges):
    return np.concatenate([edges, edges[:, ::-1]])


def split(edges, users, is_directed, seed):
    """Training and hidden follows; of an undirected graph the edges are pairs, hidden both ways."""
    a, b = edges[:, 0], edges[:, 1]
    hashes = hash_of(seed, a, b)
    if is_directed:
        degrees = np.bincount(a, minlength=users)
        order = np.lexsort((hashes, a))
        starts = np.concatenate([[0], np.cumsum(degrees)])[:-1]
        ranks = np.arange(len(order)) - starts[a[order]]
        counts = np.where(degrees >= 5, np.maximum(1, degrees // 5), 0)
        hidden = np.zeros(len(a), bool)
        hidden[order] = ranks < counts[a[order]]
        return edges[~hidden], edges[hidden]
    degrees = np.bincount(edges.ravel(), minlength=users)
    hidden = (hashes < U64(int(0.2 * 2**64))) & (degrees[a] >= 5) & (degrees[b] >= 5)
    return edges[~hidden], edges[hidden]


def negatives(user, users, followees, keys, count):
    """Users whom `user` does not follow: uniformly, and by popularity."""
    place = np.arange(2 * count)
    uniform = (hash_of(101, np.full(2 * count, user), place) % U64(users)).astype(np.int64)
    popular = followees[(hash_of(102, np.full(2 * count, user), place) % U64(len(followees))).astype(np.int64)]

    def unfollowed(others):
        others = others[others != user]
        key = user * users + others
        found = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return others[keys[found] != key][:count]

    return unfollowed(uniform), unfollowed(popular)


def load(argument):
    """Reads `PATH` or `PATH:undirected`: the edges, how many users there are, whether they have a direction."""
    path, _, kind = argument.partition(":")
    edges = np.loadtxt(gzip.open(path, "rt"), dtype=np.int64)
    return edges, int(edges.max()) + 1, kind != "undirected"


def sample(hidden, limit, seed):
    """Of those of whom something is hidden, so many, in a fixed order."""
    users = np.unique(hidden[:, 0])
    return users[np.argsort(hash_of(seed, users, users))][:limit]


def measure(is_hit, hidden, scores):
    """NDCG@10, MAP, HR@10, R@50 of a ranked list, and both AUCs of scores of hidden, uniform and popular."""
    hits = np.concatenate([is_hit[:100], np.zeros(max(0, 100 - len(is_hit)))])
    gains = 1 / np.log2(np.arange(2, 12))
    found, *others = scores
    auc = [(found[:, None] > it).mean() + (found[:, None] == it).mean() / 2 for it in others]
    return ((hits[:10] * gains).sum() / gains[: min(10, hidden)].sum(),
            (hits * np.cumsum(hits) / np.arange(1, 101)).sum() / min(hidden, 100),
            hits[:10].any(), hits[:50].sum() / hidden, *auc)


MEASURES = ("ndcg_at_10", "map", "hr_at_10", "r_at_50", "auc_uniform", "auc_popularity")
