//! How the weights of a sum are learned: from choices that users have made, each from a list of their own.
//!
//! What a user chose is drawn from the list with a chance that goes by the exponential of the score
//! (multinomial logit: Conditional logit analysis of qualitative choice behavior, 1974; as a
//! loss of whole lists: Cao and others, Learning to Rank: From Pairwise Approach to Listwise Approach,
//! ICML 2007). The weights that make the choices likeliest, and lie near those of the model before, are
//! found by Newton's method: the loss is convex, and a handful of steps are enough.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    features::{Row, TERMS, Terms, count, terms},
    model::{Calibration, Model, Sum},
};

/// How much the square of a weight's distance from that of the model before costs.
const RIDGE: f64 = 10.0;
/// Steps at most, and the gain of a step, for each list, that is worth another.
const STEPS: usize = 12;
const LEAST_GAIN: f64 = 1e-6;
/// One list in so many is not learned from, but tells how good what was learned is;
const JUDGES: usize = 5;
/// of fewer lists each tells it once, of what was learned from the others.
const FEW_LISTS: usize = 250;
/// What was learned has to come up to this share of the model before.
const LEAST_KEPT: f64 = 0.8;
/// Candidates with less than this chance are left out of the curvature.
const LEAST_CHANCE: f32 = 1e-6;
/// The least scale of a term.
const LEAST_SCALE: f64 = 0.05;
/// Places of a list that are judged.
const PLACES: usize = 10;

/// Lists of which users have chosen some.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    rows: Vec<Row>,
    chosen: Vec<bool>,
    /// Where each list ends.
    ends: Vec<usize>,
}

/// What was learned of one sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    /// NDCG@10 of lists that were not learned from, of those users who chose some of theirs: by the model
    /// before, and by what was learned.
    pub ndcg: [f64; 2],
    /// Whether what was learned was taken: unless it is worse by more than a fifth.
    pub is_taken: bool,
}

impl Choices {
    /// Adds a list, and which of it was chosen; nothing without both a choice and others.
    pub(super) fn push(&mut self, list: impl Iterator<Item = (Row, bool)>) {
        let start = self.rows.len();
        for (row, is_chosen) in list {
            self.rows.push(row);
            self.chosen.push(is_chosen);
        }
        let chosen = &self.chosen[start..];
        if chosen.contains(&true) && chosen.contains(&false) {
            self.ends.push(self.rows.len());
        } else {
            self.rows.truncate(start);
            self.chosen.truncate(start);
        }
    }

    /// Adds the lists of others.
    pub fn extend(&mut self, others: &Self) {
        let start = self.rows.len();
        self.rows.extend_from_slice(&others.rows);
        self.chosen.extend_from_slice(&others.chosen);
        self.ends.extend(others.ends.iter().map(|it| start + it));
    }

    /// How many lists there are.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.ends.len()
    }

    /// How much was chosen.
    #[must_use]
    pub fn chosen(&self) -> usize {
        self.chosen.iter().filter(|it| **it).count()
    }

    fn iter(&self) -> impl Iterator<Item = List<'_>> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| List {
            rows: &self.rows[*start..*end],
            chosen: &self.chosen[*start..*end],
        })
    }

    /// The lists that are learned from, and those that judge: every so many, from one on.
    fn divide(&self, first: usize) -> [Vec<List<'_>>; 2] {
        let (mut learned, mut judges) = (Vec::new(), Vec::new());
        for (place, list) in self.iter().enumerate() {
            if place % JUDGES == first { judges.push(list) } else { learned.push(list) }
        }
        [learned, judges]
    }
}

/// A list, and which of it was chosen.
#[derive(Debug, Clone, Copy)]
struct List<'a> {
    rows: &'a [Row],
    chosen: &'a [bool],
}

impl Model {
    /// Learns from choices among candidates, and among users of all kinds. It takes some seconds for a
    /// thousand lists of each, on the thread that calls, and ends early, with what it has by then, once
    /// `stop` is true.
    pub(super) fn learn(
        &mut self,
        candidates: &Choices,
        anyone: &Choices,
        stop: &AtomicBool,
    ) -> [Learned; 2] {
        let scales = self.scales;
        [(&mut self.order, candidates), (&mut self.affinity, anyone)]
            .map(|(sum, choices)| learn(sum, &scales, choices, stop))
    }

    /// Takes the standard deviation of each term as its scale, and learns from all choices anew.
    pub fn learn_anew(&mut self, candidates: &Choices, anyone: &Choices) {
        self.scales = scales(candidates);
        for (sum, choices) in [(&mut self.order, candidates), (&mut self.affinity, anyone)] {
            let lists: Vec<_> = choices.iter().collect();
            sum.weights = newton(&[0.0; TERMS], &self.scales, &lists, &AtomicBool::new(false));
            sum.calibrate(&self.scales, &lists);
        }
    }
}

fn learn(sum: &mut Sum, scales: &Terms, choices: &Choices, stop: &AtomicBool) -> Learned {
    let rounds = if choices.lists() < FEW_LISTS { JUDGES } else { 1 };
    let mut judged = Vec::new();
    for first in 0..rounds {
        let [learned, judges] = choices.divide(first);
        let found = newton(&sum.weights, scales, &learned, stop);
        judged.extend(judges.iter().map(|list| {
            [&sum.weights, &found].map(|weights| ndcg_of(&scores(list, weights, scales), list))
        }));
    }
    let mean = |of: &dyn Fn(&[f64; 2]) -> f64| {
        judged.iter().map(of).sum::<f64>() / f64::from(count(judged.len().max(1)))
    };
    let ndcg = [mean(&|it| it[0]), mean(&|it| it[1])];
    // What these lists tell is too little to choose by, and the model before may have been learned from
    // them; but of what is far worse something must be wrong.
    let is_taken = !judged.is_empty() && ndcg[1] > LEAST_KEPT * ndcg[0];
    if is_taken {
        let lists: Vec<_> = choices.iter().collect();
        sum.weights = newton(&sum.weights, scales, &lists, stop);
        sum.calibrate(scales, &lists);
    }
    Learned { ndcg, is_taken }
}

/// The weights near `prior` that make the choices likeliest.
fn newton(prior: &Terms, scales: &Terms, lists: &[List<'_>], stop: &AtomicBool) -> Terms {
    let (mut weights, mut reached) = (*prior, f64::INFINITY);
    for _ in 0..STEPS {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut slope = Slope::new();
        lists.iter().for_each(|list| slope.add(list, &weights, scales));
        slope.add_ridge(&weights, prior);
        if reached - slope.loss < LEAST_GAIN * f64::from(count(lists.len())) {
            break;
        }
        reached = slope.loss;
        let Some(step) = slope.step() else { break };
        let loss = |weights: &Terms| {
            let lists = lists.iter().map(|list| loss(&scores(list, weights, scales), list));
            lists.sum::<f64>() + ridge(weights, prior)
        };
        // A full step may lead too far where chances are near nought or one.
        let taken = [1.0, 0.5, 0.25, 0.0625].into_iter().find_map(|part| {
            let next = stepped(&weights, &step, part);
            (loss(&next) < reached).then_some(next)
        });
        let Some(next) = taken else { break };
        weights = next;
    }
    weights
}

#[expect(clippy::cast_possible_truncation, reason = "weights are kept in single precision")]
fn stepped(weights: &Terms, step: &[f64], part: f64) -> Terms {
    std::array::from_fn(|place| (f64::from(weights[place]) - part * step[place]) as f32)
}

fn ridge(weights: &Terms, prior: &Terms) -> f64 {
    let distance = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    RIDGE / 2.0 * weights.iter().zip(prior).map(distance).sum::<f64>()
}

/// Where the loss goes from some weights on: its value, gradient and curvature.
struct Slope {
    loss: f64,
    gradient: Vec<f64>,
    /// The upper triangle, in whole rows.
    curvature: Vec<f64>,
    /// The same of one list.
    of_list: Vec<f32>,
}

impl Slope {
    fn new() -> Self {
        Self {
            loss: 0.0,
            gradient: vec![0.0; TERMS],
            curvature: vec![0.0; TERMS * TERMS],
            of_list: vec![0.0; TERMS * TERMS],
        }
    }

    fn add(&mut self, list: &List<'_>, weights: &Terms, scales: &Terms) {
        let terms: Vec<_> = list.rows.iter().map(|row| scaled(row, scales)).collect();
        let scores: Vec<_> = terms.iter().map(|it| dot(it, weights)).collect();
        self.loss += loss(&scores, list);
        let share = share(list);
        let chances = chances(&scores);
        let mut mean = [0.0_f32; TERMS];
        self.of_list.fill(0.0);
        let mut gradient = [0.0_f32; TERMS];
        for ((terms, chance), is_chosen) in terms.iter().zip(&chances).zip(list.chosen) {
            if *is_chosen {
                gradient.iter_mut().zip(terms).for_each(|(sum, term)| *sum -= share * term);
            }
            mean.iter_mut().zip(terms).for_each(|(sum, term)| *sum += chance * term);
            if *chance < LEAST_CHANCE {
                continue;
            }
            for (place, row) in self.of_list.chunks_exact_mut(TERMS).enumerate() {
                let weighed = chance * terms[place];
                let rest = row[place..].iter_mut().zip(&terms[place..]);
                rest.for_each(|(sum, term)| *sum += weighed * term);
            }
        }
        let drawn = f64::from(share * count(list.chosen.iter().filter(|it| **it).count()));
        for place in 0..TERMS {
            self.gradient[place] += f64::from(gradient[place]) + drawn * f64::from(mean[place]);
            for other in place..TERMS {
                let spread = self.of_list[place * TERMS + other] - mean[place] * mean[other];
                self.curvature[place * TERMS + other] += drawn * f64::from(spread);
            }
        }
    }

    fn add_ridge(&mut self, weights: &Terms, prior: &Terms) {
        self.loss += ridge(weights, prior);
        for place in 0..TERMS {
            self.gradient[place] += RIDGE * f64::from(weights[place] - prior[place]);
            self.curvature[place * TERMS + place] += RIDGE;
        }
    }

    /// What to subtract of the weights: the gradient divided by the curvature, by its Cholesky factor.
    /// None where that is not positive, which rounding alone could bring about.
    fn step(&self) -> Option<Vec<f64>> {
        let mut factor = self.curvature.clone();
        let mut step = self.gradient.clone();
        for place in 0..TERMS {
            let pivot = factor[place * TERMS + place].sqrt();
            if !pivot.is_normal() {
                return None;
            }
            factor[place * TERMS..][place..TERMS].iter_mut().for_each(|it| *it /= pivot);
            step[place] /= pivot;
            for other in place + 1..TERMS {
                let times = factor[place * TERMS + other];
                for column in other..TERMS {
                    factor[other * TERMS + column] -= times * factor[place * TERMS + column];
                }
                step[other] -= times * step[place];
            }
        }
        for place in (0..TERMS).rev() {
            let row = &factor[place * TERMS..][..TERMS];
            let behind = place + 1..;
            let rest = row[behind.clone()].iter().zip(&step[behind]);
            let rest = rest.map(|(a, b)| a * b).sum::<f64>();
            step[place] = (step[place] - rest) / row[place];
        }
        Some(step)
    }
}

/// What each of a user's choices weighs: who chose much counts for more, but not as much more.
fn share(list: &List<'_>) -> f32 {
    count(list.chosen.iter().filter(|it| **it).count()).sqrt().recip()
}

/// How unlikely the choices of a list are.
fn loss(scores: &[f32], list: &List<'_>) -> f64 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all = scores.iter().map(|it| f64::from(it - most).exp()).sum::<f64>().ln();
    let chosen = scores.iter().zip(list.chosen).filter(|it| *it.1);
    f64::from(share(list)) * chosen.map(|(score, _)| all - f64::from(score - most)).sum::<f64>()
}

/// The chance of each to be drawn.
fn chances(scores: &[f32]) -> Vec<f32> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut chances: Vec<_> = scores.iter().map(|it| (it - most).exp()).collect();
    let sum: f32 = chances.iter().sum();
    chances.iter_mut().for_each(|it| *it /= sum);
    chances
}

/// NDCG@10 of a list.
fn ndcg_of(scores: &[f32], list: &List<'_>) -> f64 {
    let mut order: Vec<_> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let gain = |place: usize| f64::from(count(place + 2)).log2().recip();
    let chosen = list.chosen.iter().filter(|it| **it).count();
    let hits = order.iter().take(PLACES).enumerate().filter(|(_, it)| list.chosen[**it]);
    hits.map(|(place, _)| gain(place)).sum::<f64>() / (0..chosen.min(PLACES)).map(gain).sum::<f64>()
}

fn scaled(row: &Row, scales: &Terms) -> Terms {
    let mut terms = terms(row);
    terms.iter_mut().zip(scales).for_each(|(term, scale)| *term /= scale);
    terms
}

fn dot(terms: &Terms, weights: &Terms) -> f32 {
    terms.iter().zip(weights).map(|(term, weight)| term * weight).sum()
}

fn scores(list: &List<'_>, weights: &Terms, scales: &Terms) -> Vec<f32> {
    list.rows.iter().map(|row| dot(&scaled(row, scales), weights)).collect()
}

/// The standard deviation of each term.
fn scales(choices: &Choices) -> Terms {
    let mut sums = [[0.0_f64; 2]; TERMS];
    for row in &choices.rows {
        for (sums, term) in sums.iter_mut().zip(terms(row)) {
            let term = f64::from(term);
            *sums = [sums[0] + term, sums[1] + term * term];
        }
    }
    let rows = f64::from(count(choices.rows.len().max(1)));
    #[expect(clippy::cast_possible_truncation, reason = "scales are kept in single precision")]
    sums.map(|[sum, squares]| {
        let mean = sum / rows;
        (squares / rows - mean * mean).max(0.0).sqrt().max(LEAST_SCALE) as f32
    })
}

impl Sum {
    /// Finds the line that turns scores into chances; where there is none, the one before stands.
    fn calibrate(&mut self, scales: &Terms, lists: &[List<'_>]) {
        let mut points = Vec::new();
        for list in lists {
            let chosen = list.chosen.iter().copied();
            points
                .extend(scores(list, &self.weights, scales).into_iter().map(f64::from).zip(chosen));
        }
        if let Some(line) = line(&points) {
            self.calibration = line;
        }
    }
}

/// Logistic regression on the one score, by Newton's method, wherever scores lie and however far apart:
/// their mean and deviation are taken out first. None where no line rises with the score.
fn line(points: &[(f64, bool)]) -> Option<Calibration> {
    let number = f64::from(count(points.len()));
    let mean = points.iter().map(|it| it.0).sum::<f64>() / number;
    let spread = points.iter().map(|it| (it.0 - mean).powi(2)).sum::<f64>() / number;
    let deviation = spread.sqrt();
    let rate = f64::from(count(points.iter().filter(|it| it.1).count())) / number;
    if !deviation.is_normal() || !(1e-6..=1.0 - 1e-6).contains(&rate) {
        return None;
    }
    let points: Vec<_> = points.iter().map(|it| ((it.0 - mean) / deviation, it.1)).collect();
    let mut found = [0.0, (rate / (1.0 - rate)).ln()];
    let mut reached = line_loss(&points, found);
    for _ in 0..STEPS {
        let step = line_step(&points, found);
        let taken = [1.0, 0.5, 0.25, 0.0625].into_iter().find_map(|part| {
            let next = [found[0] - part * step[0], found[1] - part * step[1]];
            let loss = line_loss(&points, next);
            (loss < reached).then_some((next, loss))
        });
        let Some((next, loss)) = taken else { break };
        (found, reached) = (next, loss);
    }
    let slope = found[0] / deviation;
    let offset = found[1] - slope * mean;
    #[expect(clippy::cast_possible_truncation, reason = "kept in single precision")]
    let line = Calibration { slope: slope as f32, offset: offset as f32 };
    (line.slope > 0.0 && line.slope.is_finite() && line.offset.is_finite()).then_some(line)
}

/// How unlikely it is by a line what was chosen.
fn line_loss(points: &[(f64, bool)], [slope, offset]: [f64; 2]) -> f64 {
    let loss = |(score, is_chosen): &(f64, bool)| {
        let score = slope * score + offset;
        let against = if *is_chosen { -score } else { score };
        // The logarithm of one and an exponential, which may be large.
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    points.iter().map(loss).sum()
}

/// The step of Newton's method from a line.
fn line_step(points: &[(f64, bool)], [slope, offset]: [f64; 2]) -> [f64; 2] {
    let [mut gradient, mut spreads] = [[0.0; 2], [0.0; 2]];
    let mut mixed = 0.0;
    for (score, is_chosen) in points {
        let chance = 1.0 / (1.0 + (-(slope * score + offset)).exp());
        let error = chance - f64::from(u8::from(*is_chosen));
        let spread = chance * (1.0 - chance);
        gradient = [gradient[0] + error * score, gradient[1] + error];
        spreads = [spreads[0] + spread * score * score, spreads[1] + spread];
        mixed += spread * score;
    }
    // A little of each keeps the determinant above nought.
    let [squares, spread] = spreads.map(|it| it + 1e-6);
    let determinant = squares * spread - mixed * mixed;
    [
        (spread * gradient[0] - mixed * gradient[1]) / determinant,
        (squares * gradient[1] - mixed * gradient[0]) / determinant,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::mix, recommend::features::FEATURES};

    /// A number from 0 to 1 that goes by the seed alone.
    fn drawn(seed: u64) -> f32 {
        f32::from(u16::try_from(mix(seed) >> 48).unwrap()) / 65_536.0
    }

    /// Lists of twenty, of which users choose the one whose `signal` is the largest, and now and then
    /// another one.
    fn choices(lists: u64, signal: usize, seed: u64) -> Choices {
        let mut choices = Choices::default();
        for list in 0..lists {
            let rows: Vec<Row> = (0..20)
                .map(|place| {
                    let seed = seed + (list * 20 + place) * 100;
                    let mut row = [0.0; FEATURES.len()];
                    (0..).zip(&mut row[..12]).for_each(|(of, it)| *it = drawn(seed + of));
                    row
                })
                .collect();
            let best = (0..20).max_by(|a, b| rows[*a][signal].total_cmp(&rows[*b][signal]));
            let other = if list % 4 == 0 { 7 } else { best.unwrap() };
            let chosen = (0..20).map(|it| Some(it) == best || it == other);
            choices.push(rows.iter().copied().zip(chosen));
        }
        choices
    }

    fn learn(model: &mut Model, candidates: &Choices, anyone: &Choices) -> [Learned; 2] {
        model.learn(candidates, anyone, &AtomicBool::new(false))
    }

    #[test]
    fn a_line_is_found_wherever_scores_lie() {
        // Of those with a score of one a fifth are chosen, of those with nought one in twenty.
        let points = |shift: f64, scale: f64| -> Vec<(f64, bool)> {
            let ones = (0..100).map(|it| (1.0, it % 5 == 0));
            let noughts = (0..100).map(|it| (0.0, it % 20 == 0));
            ones.chain(noughts).map(|(score, is)| (score * scale + shift, is)).collect()
        };
        for (shift, scale) in [(0.0, 1.0), (-15.0, 1.0), (15.0, 1.0), (-400.0, 3.0), (2.0, 0.01)] {
            let Calibration { slope, offset } = line(&points(shift, scale)).unwrap();
            let chance = |score: f64| {
                let line = f64::from(slope) * (score * scale + shift) + f64::from(offset);
                1.0 / (1.0 + (-line).exp())
            };
            let close = |one: f64, other: f64| assert!((one - other).abs() < 1e-3, "{one} {other}");
            close(chance(1.0), 0.2);
            close(chance(0.0), 0.05);
        }
        // Far apart is not too far: the chances come as near to nought and one as they may.
        let apart: Vec<_> = (0..100).map(|it| (f64::from(it), it >= 50)).collect();
        assert!(line(&apart).unwrap().slope > 0.0);
        // Where the lower scores are chosen, where all are, where nothing differs and of nothing: no line.
        let turned = points(0.0, -1.0);
        let all: Vec<_> = points(0.0, 1.0).into_iter().map(|it| (it.0, true)).collect();
        for none in [turned, all, vec![(2.0, true), (2.0, false)], Vec::new()] {
            assert_eq!(line(&none), None);
        }
    }

    #[test]
    fn what_is_stopped_learns_nothing_more() {
        let mut model = Model::blank();
        let stopped = AtomicBool::new(true);
        let [order, _] = model.learn(&choices(300, 3, 0), &Choices::default(), &stopped);
        assert!((order.ndcg[0] - order.ndcg[1]).abs() < f64::EPSILON);
        assert!(model.order.weights.iter().all(|it| *it == 0.0));
    }

    #[test]
    fn what_users_choose_by_is_found_out() {
        let mut model = Model::blank();
        let [order, affinity] = learn(&mut model, &choices(300, 3, 0), &choices(300, 8, 1));
        for learned in [order, affinity] {
            assert!(learned.is_taken && learned.ndcg[1] > 0.75, "{learned:?}");
            assert!(learned.ndcg[0] < 0.5, "{learned:?}");
        }
        for (sum, signal) in [(&model.order, 3), (&model.affinity, 8)] {
            let by_signal = |signal: usize| sum.weights[signal] + sum.weights[24 + signal];
            let most = (0..12).max_by(|a, b| by_signal(*a).total_cmp(&by_signal(*b)));
            assert_eq!(most, Some(signal));
            assert!(sum.calibration.slope > 0.0);
        }
        // Chances are chances: one of twenty is chosen, and a few more.
        let found = choices(50, 3, 77);
        let chances = found
            .iter()
            .flat_map(|list| scores(&list, &model.order.weights, &model.scales).into_iter());
        let sum: f32 = chances.map(|it| model.order.probability(it)).sum();
        let chosen = count(found.chosen());
        assert!((sum - chosen).abs() < chosen / 4.0, "{sum} of {chosen}");
    }

    #[test]
    fn few_lists_move_weights_a_little_and_many_far() {
        let distance = |lists| {
            let mut model = Model::blank();
            learn(&mut model, &choices(lists, 3, 0), &Choices::default());
            model.order.weights.iter().map(|it| it * it).sum::<f32>()
        };
        let [few, many] = [distance(20), distance(300)];
        assert!(few > 0.0 && many > 2.0 * few, "{few} {many}");
    }

    #[test]
    fn what_is_no_better_is_not_taken() {
        let mut model = Model::blank();
        let all = choices(300, 3, 0);
        learn(&mut model, &all, &Choices::default());
        let good = model.clone();
        // Of nothing nothing is learned, and by chance nothing that holds for others.
        let mut noise = Choices::default();
        for (place, list) in all.iter().enumerate() {
            let lucky = usize::try_from(mix(place as u64) % 20).unwrap();
            let is_judge = place % JUDGES == 0;
            let chosen = |it: usize| if is_judge { list.chosen[it] } else { it == lucky };
            noise.push(list.rows.iter().copied().enumerate().map(|(it, row)| (row, chosen(it))));
        }
        let [order, affinity] = learn(&mut model, &noise, &Choices::default());
        assert!(!order.is_taken && order.ndcg[1] < order.ndcg[0], "{order:?}");
        assert_eq!(affinity, Learned { ndcg: [0.0; 2], is_taken: false });
        assert_eq!(model.order.weights, good.order.weights);
        assert_eq!(model.affinity.weights, good.affinity.weights);
    }

    #[test]
    fn the_slope_is_that_of_the_loss() {
        let all = choices(5, 3, 0);
        let lists: Vec<_> = all.iter().collect();
        let mut weights = [0.0; TERMS];
        (0..).zip(&mut weights).for_each(|(place, it)| *it = drawn(place) - 0.5);
        let scales = [0.7; TERMS];
        let slope_at = |weights: &Terms| {
            let mut slope = Slope::new();
            lists.iter().for_each(|list| slope.add(list, weights, &scales));
            slope.add_ridge(weights, &[0.1; TERMS]);
            slope
        };
        let here = slope_at(&weights);
        for place in [0, 5, 25, 40, 68] {
            let ahead = |by: f32| {
                let mut weights = weights;
                weights[place] += by;
                slope_at(&weights)
            };
            let [before, after] = [ahead(-0.01), ahead(0.01)];
            let close = |a: f64, b: f64| assert!((a - b).abs() < 2e-2 * b.abs() + 1e-2, "{a} {b}");
            close((after.loss - before.loss) / 0.02, here.gradient[place]);
            for other in place..TERMS {
                let curvature = (after.gradient[other] - before.gradient[other]) / 0.02;
                close(curvature, here.curvature[place * TERMS + other]);
            }
        }
        // A step leads to where the quadratic that has this slope is least.
        let step = here.step().unwrap();
        let full =
            |row: usize, column: usize| here.curvature[row.min(column) * TERMS + row.max(column)];
        for row in 0..TERMS {
            let product: f64 = (0..TERMS).map(|column| full(row, column) * step[column]).sum();
            assert!((product - here.gradient[row]).abs() < 1e-8);
        }
    }

    #[test]
    fn lists_without_a_choice_and_lists_of_nothing_else_are_left_out() {
        let mut choices = Choices::default();
        let row = [0.0; FEATURES.len()];
        choices.push([(row, false), (row, false)].into_iter());
        choices.push([(row, true)].into_iter());
        choices.push(std::iter::empty());
        assert_eq!((choices.lists(), choices.chosen(), choices.rows.len()), (0, 0, 0));
        choices.push([(row, true), (row, false)].into_iter());
        let mut more = choices.clone();
        more.extend(&choices);
        assert_eq!((more.lists(), more.chosen(), more.iter().count()), (2, 2, 2));
    }
}
