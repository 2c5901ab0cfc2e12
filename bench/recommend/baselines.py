"""Matrix methods that others wrote, on the split of `tidings evaluate`: ALS and BPR of `implicit`, and EASE.

usage: baselines.py GRAPH.txt.gz[:undirected] [--users N]

Prints one JSON object: by method, the measures and the milliseconds that one user takes. All on one thread.
EASE (Steck: Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019) inverts a matrix of all users by
all users, and is left out where that does not fit.
"""
import argparse
import json
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import scipy.sparse as sparse
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking

from protocol import MEASURES, TEST_SEED, both_ways, load, measure, negatives, sample, split

EASE_USERS = 12_000
EASE_REGULARISATION = 100.0


def factors(model, matrix):
    model.fit(matrix, show_progress=False)
    users, items = model.user_factors, model.item_factors
    return lambda user: items @ users[user]


def ease(matrix):
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += EASE_REGULARISATION
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return lambda user: weights[matrix[user].indices].sum(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("graph")
    parser.add_argument("--users", type=int, default=1000)
    options = parser.parse_args()
    edges, users, is_directed = load(options.graph)
    train, hidden = split(edges, users, is_directed, TEST_SEED)
    if not is_directed:
        edges, train, hidden = map(both_ways, (edges, train, hidden))
    keys = np.sort(edges[:, 0] * users + edges[:, 1])
    matrix = sparse.csr_matrix((np.ones(len(train), np.float32), (train[:, 0], train[:, 1])), (users, users))
    als = AlternatingLeastSquares(factors=64, regularization=0.05, alpha=10.0, iterations=12, num_threads=1,
                                  random_state=1)
    bpr = BayesianPersonalizedRanking(factors=64, learning_rate=0.05, regularization=0.005, iterations=80,
                                      num_threads=1, random_state=1)
    methods = {"als64": factors(als, matrix), "bpr64": factors(bpr, matrix)}
    if users <= EASE_USERS:
        methods["ease"] = ease(matrix)
    found = {name: [] for name in methods}
    times = {name: [] for name in methods}
    for user in map(int, sample(hidden, options.users, 7)):
        own = hidden[hidden[:, 0] == user, 1]
        uniform, popular = negatives(user, users, edges[:, 1], keys, 100)
        if not len(uniform) or not len(popular):
            continue
        for name, method in methods.items():
            started = time.perf_counter()
            scores = np.asarray(method(user), np.float64)
            times[name].append((time.perf_counter() - started) * 1e3)
            listed = scores.copy()
            listed[np.append(matrix[user].indices, user)] = -np.inf
            ranked = np.lexsort((np.arange(users), -listed))[:100]
            found[name].append(measure(np.isin(ranked, own), len(own), [scores[it] for it in (own, uniform, popular)]))
    print(json.dumps({name: dict(zip(MEASURES, np.mean(found[name], 0).round(4).tolist()),
                                 ms_p95=round(float(np.percentile(times[name], 95)), 3)) for name in methods}))


main()
