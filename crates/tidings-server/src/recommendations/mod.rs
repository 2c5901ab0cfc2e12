//! Whom to follow, as the product has it: the engine, what users made of its recommendations so far, and
//! who is not to be recommended.

mod discount;
mod hidden;
mod learning;
mod lists;
mod measure;
mod recommender;

pub use discount::ImpressionDiscount;
pub use hidden::HiddenUsers;
pub use learning::Learning;
pub use recommender::{Query, RecommendError, Recommender, RecommenderConfig};
