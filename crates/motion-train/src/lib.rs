//! Native training and evaluation: a recipe and labelled clips in, a model folder with its card out.

mod card;
pub mod data;
mod error;
pub mod evaluate;
pub mod guide;
pub mod learner;
pub mod metrics;
pub mod optimizer;
pub mod parameters;
mod progress;
pub mod recipe;
pub mod synth;
pub mod trunk;

pub use error::{Error, Result};
pub use evaluate::evaluate;
pub use learner::{Report, train};
