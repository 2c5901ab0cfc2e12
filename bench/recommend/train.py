"""Trains the model of the recommender on public graphs: see README.md beside this file.

usage: train.py BINARY OUT GRAPH.txt.gz[:undirected] ...

Hides a fifth of everyone's follows in the training part of each graph, asks the binary what the recommender
tells its model of some users then, and learns to find what was hidden. The test part of the graphs, which
`tidings evaluate` hides, is not trained on. With --test it is looked at, and the figures are printed.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression

from protocol import MEASURES, TEST_SEED, both_ways, load, measure, negatives, sample, split

TRAIN_SEEDS, CALIBRATION_SEED = (43, 44, 45), 46
NEGATIVES = 30


class Lists:
    """Of some users: the features of the candidates and of others, and what was hidden."""

    def __init__(self, binary, train, hidden, users, limit, count, user_seed):
        all_edges = np.concatenate([train, hidden])
        keys = np.sort(all_edges[:, 0] * users + all_edges[:, 1])
        by_user = {}
        for a, b in hidden:
            by_user.setdefault(int(a), []).append(int(b))
        self.users = []
        with tempfile.TemporaryDirectory() as directory:
            paths = {name: os.path.join(directory, name) for name in ("edges", "requests", "out")}
            np.savetxt(paths["edges"], np.random.default_rng(1).permutation(train), fmt="%d")
            with open(paths["requests"], "w") as file:
                for user in map(int, sample(hidden, limit, user_seed)):
                    found = np.array(by_user[user])
                    uniform, popular = negatives(user, users, all_edges[:, 1], keys, count)
                    if len(uniform) and len(popular):
                        self.users.append((user, found, uniform, popular))
                        others = np.concatenate([found, uniform, popular])
                        file.write(" ".join(map(str, [user, *others])) + "\n")
            done = subprocess.run([binary, "recommend-features"], input=json.dumps(paths) + "\n", text=True,
                                  stdout=subprocess.PIPE, check=True)
            self.names = json.loads(done.stdout.strip().splitlines()[-1])
            self.read(paths["out"])

    def read(self, path):
        raw = np.fromfile(path, np.uint32)
        width, at = len(self.names) + 1, 0
        self.lists = []
        for user, found, uniform, popular in self.users:
            rows, pool = int(raw[at]), int(raw[at + 1])
            table = raw[at + 2: at + 2 + rows * width].reshape(rows, width)
            at += 2 + rows * width
            ids, features = table[:, 0].astype(np.int64), table[:, 1:].view(np.float32)
            place = {int(it): n for n, it in enumerate(ids)}
            pick = lambda users: np.array([place[int(it)] for it in users if int(it) in place], np.int64)
            is_hidden = np.isin(ids, found)
            self.lists.append((ids[:pool], features, is_hidden[:pool], pick(found), pick(uniform), pick(popular),
                               len(found)))


def gather(binary, graph, seeds, limit):
    edges, users, is_directed = load(graph)
    outer, test = split(edges, users, is_directed, TEST_SEED)
    finish = (lambda it: it) if is_directed else both_ways
    found = {}
    for seed in seeds:
        if seed == TEST_SEED:
            found[seed] = Lists(binary, finish(outer), finish(test), users, 1000, 100, 7)
        else:
            train, hidden = split(outer, users, is_directed, seed)
            found[seed] = Lists(binary, finish(train), finish(hidden), users, limit, NEGATIVES, 8 + seed)
    return found


def train_order(data):
    """Learns to put what was hidden before the other candidates; each graph counts the same."""
    rows, labels, groups, weights = [], [], [], []
    for lists in data:
        used = [it for it in lists if it[2].any() and len(it[0]) > 1]
        for ids, features, is_hidden, *_ in used:
            rows.append(features[: len(ids)])
            labels.append(is_hidden)
            groups.append(len(ids))
            weights.append(np.full(len(ids), 1000 / len(used)))
    dataset = lightgbm.Dataset(np.concatenate(rows), np.concatenate(labels).astype(np.int8), group=groups,
                               weight=np.concatenate(weights))
    # Large leaves, few features for each tree: the graphs that it learns from are small, and are learned by
    # heart otherwise. A short way down each tree costs each request less.
    parameters = dict(objective="lambdarank", num_leaves=16, max_depth=6, learning_rate=0.08, min_data_in_leaf=2000,
                      feature_fraction=0.3, lambda_l2=10, lambdarank_truncation_level=20)
    return lightgbm.train(parameters | COMMON, dataset, num_boost_round=200)


def train_affinity(data):
    """Learns to tell what was hidden from users of any kind and from popular ones."""
    rows, labels, weights = [], [], []
    for lists in data:
        for _, features, _, found, uniform, popular, _ in lists:
            found, others = found[:20], np.concatenate([uniform, popular])
            if len(found) and len(others):
                rows += [features[found], features[others]]
                labels += [np.ones(len(found)), np.zeros(len(others))]
                weights += [np.full(len(found), 1 / len(found)), np.full(len(others), 1 / len(others))]
                weights[-1] /= len(lists) / 1000
                weights[-2] /= len(lists) / 1000
    dataset = lightgbm.Dataset(np.concatenate(rows), np.concatenate(labels), weight=np.concatenate(weights))
    parameters = dict(objective="binary", num_leaves=16, max_depth=6, learning_rate=0.1, min_data_in_leaf=500,
                      feature_fraction=0.6)
    return lightgbm.train(parameters | COMMON, dataset, num_boost_round=100)


COMMON = dict(verbose=-1, num_threads=2, seed=1, deterministic=True, force_row_wise=True)


def calibrate(booster, data):
    """The line that turns scores of candidates into chances."""
    scores, labels = [], []
    for lists in data:
        for ids, features, is_hidden, *_ in lists:
            if len(ids):
                scores.append(booster.predict(features[: len(ids)], raw_score=True, num_threads=1))
                labels.append(is_hidden)
    line = LogisticRegression(C=1e6).fit(np.concatenate(scores)[:, None], np.concatenate(labels))
    return dict(slope=round(float(line.coef_[0, 0]), 4), offset=round(float(line.intercept_[0]), 4))


def below(threshold):
    """The largest single-precision number that is not above it: what goes left goes left."""
    near = np.float32(threshold)
    return str(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def tree_text(root):
    columns, leaves = {name: [] for name in ("feature", "threshold", "left", "right")}, []

    def walk(node):
        if "leaf_value" in node:
            leaves.append(f"{node['leaf_value']:.5g}")
            return -len(leaves)
        place = len(columns["feature"])
        columns["feature"].append(str(node["split_feature"]))
        columns["threshold"].append(below(node["threshold"]))
        columns["left"].append(None)
        columns["right"].append(None)
        columns["left"][place] = str(walk(node["left_child"]))
        columns["right"][place] = str(walk(node["right_child"]))
        return place

    walk(root)
    columns["leaf"] = leaves
    return "{" + ", ".join(f'"{name}": [{", ".join(values)}]' for name, values in columns.items()) + "}"


def write(path, names, order, calibration, affinity):
    def trees(booster):
        roots = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
        return ",\n".join(tree_text(root) for root in roots)

    plain = json.dumps(dict(slope=1.0, offset=0.0))
    with open(path, "w") as file:
        file.write(f'{{"features": {json.dumps(names)},\n')
        file.write(f'"order": {{"calibration": {json.dumps(calibration)}, "trees": [\n{trees(order)}]}},\n')
        file.write(f'"affinity": {{"calibration": {plain}, "trees": [\n{trees(affinity)}]}}}}\n')


def test(name, order, affinity, lists):
    results = []
    for ids, features, is_hidden, found, uniform, popular, hidden in lists:
        scores = order.predict(features[: len(ids)], raw_score=True, num_threads=1)
        chances = affinity.predict(features, raw_score=True, num_threads=1)
        ranked = is_hidden[np.lexsort((ids, -scores))]
        results.append(measure(ranked, hidden, [chances[it] for it in (found, uniform, popular)]))
    print(name, *(f"{label} {value:.4f}" for label, value in zip(MEASURES, np.mean(results, 0))), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("out")
    parser.add_argument("graphs", nargs="+")
    parser.add_argument("--users", type=int, default=2500, help="of each graph and seed")
    parser.add_argument("--test", action="store_true", help="print figures of the test part as well")
    options = parser.parse_args()
    started, data = time.time(), {}
    seeds = (*TRAIN_SEEDS, CALIBRATION_SEED) + ((TEST_SEED,) if options.test else ())
    for graph in options.graphs:
        data[graph] = gather(options.binary, graph, seeds, options.users)
        print(f"{graph}: {time.time() - started:.0f} s", flush=True)
    names = data[options.graphs[0]][TRAIN_SEEDS[0]].names
    training = [sum((data[graph][seed].lists for seed in TRAIN_SEEDS), []) for graph in options.graphs]
    order, affinity = train_order(training), train_affinity(training)
    calibration = calibrate(order, [data[graph][CALIBRATION_SEED].lists for graph in options.graphs])
    write(options.out, names, order, calibration, affinity)
    print(f"{options.out}: {time.time() - started:.0f} s", flush=True)
    if options.test:
        for graph in options.graphs:
            test(os.path.basename(graph), order, affinity, data[graph][TEST_SEED].lists)


main()
