//! What ranks: two weighted sums of the same [terms](super::features::terms).
//!
//! One is learned to put the candidates of a user in order. It knows nothing of those who are no
//! candidates, of whom it has seen none. The other is learned to tell a follow that will be made from one
//! that will not, between the user and anybody, and ranks those whom a request names. A model is built in,
//! made by `cargo xtask train-recommender`; an engine [learns](super::learn) another from its own graph.

use serde::{Deserialize, Serialize};

use super::features::{Row, TERMS, Terms, term_names, terms};

const BUILT_IN: &str = include_str!("model.json");

/// Why a text is not a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It is not JSON of this shape.
    #[error("the model is not readable")]
    Unreadable(#[from] serde_json::Error),
    /// It weighs other terms.
    #[error("the model weighs {found} terms, and not those of this version")]
    Terms {
        /// How many it weighs.
        found: usize,
    },
}

/// A model as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct ModelFile {
    terms: Vec<TermFile>,
    /// Of the two sums.
    order: Calibration,
    affinity: Calibration,
}

/// A term of a model as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct TermFile {
    name: String,
    /// What the term is divided by before it is weighed: its standard deviation where the built-in model
    /// was learned, so that weights compare.
    scale: f32,
    order: f32,
    affinity: f32,
}

/// Turns a sum into a probability: the logistic function of a line (Platt 1999).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration {
    pub(super) slope: f32,
    pub(super) offset: f32,
}

/// A weighted sum of terms.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    /// Of the terms divided by their scales.
    pub(super) weights: Terms,
    pub(super) calibration: Calibration,
}

/// What ranks.
#[derive(Debug, Clone)]
pub struct Model {
    /// What each term is divided by.
    pub(super) scales: Terms,
    /// Puts candidates in order.
    pub(super) order: Sum,
    /// Puts anybody in order.
    pub(super) affinity: Sum,
}

impl Model {
    /// The model that is built in.
    #[expect(clippy::expect_used, reason = "a test reads the model that is built in")]
    pub(super) fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in model is one")
    }

    /// A model that weighs nothing, to learn from.
    #[must_use]
    pub fn blank() -> Self {
        let sum =
            Sum { weights: [0.0; TERMS], calibration: Calibration { slope: 1.0, offset: 0.0 } };
        Self { scales: [1.0; TERMS], order: sum.clone(), affinity: sum }
    }

    /// Reads a model.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let file: ModelFile = serde_json::from_str(text)?;
        let names = file.terms.iter().map(|it| &it.name);
        let found = file.terms.len();
        let refused = || ModelError::Terms { found };
        if !names.eq(&term_names()) {
            return Err(refused());
        }
        let column = |of: fn(&TermFile) -> f32| {
            let column: Vec<_> = file.terms.iter().map(of).collect();
            Terms::try_from(column).map_err(|_| refused())
        };
        Ok(Self {
            scales: column(|it| it.scale)?,
            order: Sum { weights: column(|it| it.order)?, calibration: file.order },
            affinity: Sum { weights: column(|it| it.affinity)?, calibration: file.affinity },
        })
    }

    /// The model as text that [`Model::parse`] reads, a line for each term, four digits of each number.
    ///
    /// # Errors
    ///
    /// [`ModelError::Unreadable`] for a number that is none.
    pub fn to_text(&self) -> Result<String, ModelError> {
        let mut lines = Vec::with_capacity(TERMS);
        for (place, name) in term_names().into_iter().enumerate() {
            let [scale, order, affinity] =
                [self.scales[place], self.order.weights[place], self.affinity.weights[place]]
                    .map(rounded);
            lines.push(serde_json::to_string(&TermFile { name, scale, order, affinity })?);
        }
        let calibration = |sum: &Sum| {
            let Calibration { slope, offset } = sum.calibration;
            serde_json::to_string(&Calibration { slope: rounded(slope), offset: rounded(offset) })
        };
        Ok(format!(
            "{{\"order\": {},\n\"affinity\": {},\n\"terms\": [\n{}]}}\n",
            calibration(&self.order)?,
            calibration(&self.affinity)?,
            lines.join(",\n")
        ))
    }

    /// Writes what a sum makes of each row: the higher, the better.
    pub(super) fn score(&self, sum: &Sum, rows: &[Row], scores: &mut Vec<f32>) {
        let mut weights = sum.weights;
        weights.iter_mut().zip(&self.scales).for_each(|(weight, scale)| *weight /= scale);
        scores.clear();
        scores.extend(rows.iter().map(|row| {
            let terms = terms(row);
            terms.iter().zip(&weights).map(|(term, weight)| term * weight).sum::<f32>()
        }));
    }
}

impl Sum {
    /// The chance that a score stands for a follow that will be made, from 0 to 1.
    pub(super) fn probability(&self, score: f32) -> f32 {
        let Calibration { slope, offset } = self.calibration;
        1.0 / (1.0 + (-(slope * score + offset)).exp())
    }
}

/// Four digits of a number.
fn rounded(number: f32) -> f32 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_model_is_one_and_is_written_as_it_was_read() {
        let model = Model::built_in();
        assert!(model.order.weights.iter().any(|it| *it != 0.0));
        assert!(model.scales.iter().all(|it| *it > 0.0));
        assert!(model.order.calibration.slope > 0.0 && model.affinity.calibration.slope > 0.0);
        assert_eq!(model.to_text().unwrap(), BUILT_IN);
    }

    #[test]
    fn terms_are_divided_weighed_and_added_up() {
        let mut model = Model::blank();
        // The first signal as it is and its logarithm, two columns further on.
        (model.order.weights[0], model.scales[0]) = (3.0, 2.0);
        model.order.weights[24] = 0.5;
        model.order.calibration = Calibration { slope: 2.0, offset: -1.0 };
        let mut rows = [[0.0; 21]; 2];
        rows[0][0] = 0.8;
        let mut scores = Vec::new();
        model.score(&model.order, &rows, &mut scores);
        let wanted = [1.2 + 0.5 * 0.81_f32.ln(), 0.5 * 0.01_f32.ln()];
        assert!(scores.iter().zip(wanted).all(|(it, wanted)| (it - wanted).abs() < 1e-5));
        assert!((model.order.probability(0.5) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_model_of_other_terms_is_refused() {
        let text = Model::blank().to_text().unwrap();
        assert!(Model::parse(&text).is_ok());
        let other = text.replace("\"walks ln\"", "\"walks log\"");
        assert!(matches!(Model::parse(&other), Err(ModelError::Terms { found: TERMS })));
        assert!(matches!(Model::parse("{}"), Err(ModelError::Unreadable(_))));
    }
}
