//! What was learned: two sums of gradient-boosted regression trees over the same features.
//!
//! One is trained to put the candidates of a user in order (Burges: From RankNet to LambdaRank to
//! LambdaMART, MSR-TR-2010-82). It knows nothing of those who are no candidates, of whom it has seen
//! none. The other is trained to tell a follow that will be made from one that will not, between the user
//! and anybody, and ranks those whom a request names. Which features they read is the business of
//! [`features`](super::features); how they were made, of `bench/recommend`.

use serde::Deserialize;

use super::features::{FEATURES, Row};

/// The model that is built in, made by `cargo xtask train-recommender`.
const BUILT_IN: &str = include_str!("model.json");

/// Why a text is not a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ModelError {
    /// It is not JSON of this shape.
    #[error("the model is not readable")]
    Unreadable(#[from] serde_json::Error),
    /// It was trained on other features.
    #[error("the model reads the features {found:?}, not those of this version")]
    Features { found: Vec<String> },
    /// A tree is none.
    #[error("tree {tree} of the model points out of itself")]
    Tree { tree: usize },
}

#[derive(Debug, Deserialize)]
struct ModelFile {
    features: Vec<String>,
    order: SumFile,
    affinity: SumFile,
}

/// Trees, and what is made of their sum.
#[derive(Debug, Deserialize)]
struct SumFile {
    calibration: Calibration,
    trees: Vec<TreeFile>,
}

/// Turns the sum of trees into a probability: the logistic function of a line (Platt 1999).
#[derive(Debug, Clone, Copy, Deserialize)]
struct Calibration {
    slope: f32,
    offset: f32,
}

/// A tree, its inner nodes one after the other; a child below zero is a leaf, -1 the first.
#[derive(Debug, Deserialize)]
struct TreeFile {
    feature: Vec<usize>,
    threshold: Vec<f32>,
    left: Vec<i32>,
    right: Vec<i32>,
    leaf: Vec<f32>,
}

/// Where to go on, or to stay: a leaf leads to itself.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: u16,
    /// Up to this, to the left.
    threshold: f32,
    /// Left and right.
    next: [u16; 2],
}

/// The splits, and behind them the leaves.
#[derive(Debug)]
struct Tree {
    steps: Vec<Step>,
    /// Of the leaves.
    values: Vec<f32>,
    /// Splits on the longest way.
    depth: usize,
}

/// Rows that go down a tree together: each waits for what it reads, but not for the others.
const TOGETHER: usize = 16;
/// Rows that go down all trees before the next do, so that they stay in the cache nearest to the processor.
const BLOCK: usize = 8 * TOGETHER;

/// Trees whose values are added up.
#[derive(Debug)]
pub(super) struct TreeSum {
    trees: Vec<Tree>,
    calibration: Calibration,
}

/// What ranks.
#[derive(Debug)]
pub(super) struct Model {
    /// Puts candidates in order.
    pub(super) order: TreeSum,
    /// Puts anybody in order.
    pub(super) affinity: TreeSum,
}

impl Model {
    /// The model that is built in.
    #[expect(clippy::expect_used, reason = "a test reads the model that is built in")]
    pub(super) fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in model is one")
    }

    /// Reads a model.
    pub(super) fn parse(text: &str) -> Result<Self, ModelError> {
        let file: ModelFile = serde_json::from_str(text)?;
        if file.features != FEATURES {
            return Err(ModelError::Features { found: file.features });
        }
        Ok(Self { order: TreeSum::read(&file.order)?, affinity: TreeSum::read(&file.affinity)? })
    }
}

impl TreeSum {
    fn read(file: &SumFile) -> Result<Self, ModelError> {
        let trees = file.trees.iter().enumerate();
        let trees = trees.map(|(place, it)| read_tree(it).ok_or(ModelError::Tree { tree: place }));
        Ok(Self { trees: trees.collect::<Result<_, _>>()?, calibration: file.calibration })
    }

    /// Writes what the trees make of each row: the higher, the better.
    pub(super) fn score(&self, rows: &[Row], scores: &mut Vec<f32>) {
        scores.clear();
        scores.resize(rows.len(), 0.0);
        for (rows, scores) in rows.chunks(BLOCK).zip(scores.chunks_mut(BLOCK)) {
            self.trees.iter().for_each(|tree| tree.add(rows, scores));
        }
    }

    /// The chance that a score stands for a follow that will be made, from 0 to 1.
    pub(super) fn probability(&self, score: f32) -> f32 {
        let Calibration { slope, offset } = self.calibration;
        1.0 / (1.0 + (-(slope * score + offset)).exp())
    }
}

/// Checks a tree and makes it small; `None` if it has not the shape of one.
fn read_tree(file: &TreeFile) -> Option<Tree> {
    let (splits, leaves) = (file.feature.len(), file.leaf.len());
    let is_whole = [file.threshold.len(), file.left.len(), file.right.len()] == [splits; 3];
    if !is_whole || leaves != splits + 1 || splits + leaves > usize::from(u16::MAX) {
        return None;
    }
    let next = |place: usize, child: i32| {
        let Ok(child) = u16::try_from(child) else {
            let leaf = usize::try_from(-1 - i64::from(child)).ok()?;
            return (leaf < leaves).then(|| u16::try_from(splits + leaf).ok())?;
        };
        // Children come after their parents, so that every way ends.
        (usize::from(child) > place && usize::from(child) < splits).then_some(child)
    };
    let mut steps = Vec::with_capacity(splits + leaves);
    for place in 0..splits {
        let feature = file.feature[place];
        if feature >= FEATURES.len() {
            return None;
        }
        let next = [next(place, file.left[place])?, next(place, file.right[place])?];
        let threshold = file.threshold[place];
        steps.push(Step { feature: u16::try_from(feature).ok()?, threshold, next });
    }
    for place in splits..splits + leaves {
        let place = u16::try_from(place).ok()?;
        steps.push(Step { feature: 0, threshold: f32::INFINITY, next: [place; 2] });
    }
    let mut depths = vec![0; splits + leaves];
    for place in (0..splits).rev() {
        let below = steps[place].next.map(|it| depths[usize::from(it)]);
        depths[place] = 1 + below[0].max(below[1]);
    }
    Some(Tree { steps, values: file.leaf.clone(), depth: depths[0] })
}

impl Tree {
    /// Adds to each score the value of the leaf that its row comes to.
    fn add(&self, rows: &[Row], scores: &mut [f32]) {
        let splits = self.steps.len() - self.values.len();
        for (rows, scores) in rows.chunks(TOGETHER).zip(scores.chunks_mut(TOGETHER)) {
            let mut places = [0_u16; TOGETHER];
            for _ in 0..self.depth {
                for (place, row) in places.iter_mut().zip(rows) {
                    let step = &self.steps[usize::from(*place)];
                    let is_right = row[usize::from(step.feature)] > step.threshold;
                    *place = step.next[usize::from(is_right)];
                }
            }
            for (place, score) in places.iter().zip(scores) {
                *score += self.values[usize::from(*place) - splits];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(trees: &str) -> String {
        let features = serde_json::to_string(&FEATURES).unwrap();
        format!(
            r#"{{"features": {features},
                "order": {{"calibration": {{"slope": 2.0, "offset": -1.0}}, "trees": [{trees}]}},
                "affinity": {{"calibration": {{"slope": 1.0, "offset": 0.0}}, "trees": []}}}}"#
        )
    }

    #[test]
    fn the_built_in_model_is_one() {
        let model = Model::built_in();
        assert!(!model.order.trees.is_empty() && !model.affinity.trees.is_empty());
    }

    #[test]
    fn trees_are_walked_to_their_leaves_and_added_up() {
        let one = r#"{"feature": [0, 1], "threshold": [0.5, 2.0], "left": [1, -1], "right": [-3, -2],
                      "leaf": [1.0, 2.0, 4.0]}"#;
        let leaf = r#"{"feature": [], "threshold": [], "left": [], "right": [], "leaf": [0.25]}"#;
        let model = Model::parse(&text(&format!("{one}, {leaf}"))).unwrap().order;
        let mut rows = [[0.0; FEATURES.len()]; 4];
        rows[1][1] = 2.1;
        rows[2][0] = 0.6;
        rows[3] = [0.5; FEATURES.len()];
        let mut scores = Vec::new();
        model.score(&rows, &mut scores);
        assert_eq!(scores, [1.25, 2.25, 4.25, 1.25]);
        // More than go down together, and no whole number of times.
        model.score(&rows.repeat(BLOCK / 2 + 1), &mut scores);
        assert_eq!(scores, [1.25, 2.25, 4.25, 1.25].repeat(BLOCK / 2 + 1));
        assert!((model.probability(0.5) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_tree_that_points_out_of_itself_is_refused() {
        for (left, right) in [("[0]", "[-2]"), ("[1]", "[-2]"), ("[-1]", "[-3]"), ("[]", "[-2]")] {
            let tree = format!(
                r#"{{"feature": [0], "threshold": [0.5], "left": {left}, "right": {right}, "leaf": [1, 2]}}"#
            );
            let refused = Model::parse(&text(&tree)).err();
            assert!(matches!(refused, Some(ModelError::Tree { tree: 0 })), "{tree}");
        }
    }
}
