//! Native training and evaluation: a recipe and labelled clips in, a model folder with its card out.

pub mod augment;
mod average;
mod card;
mod clips;
pub mod data;
mod error;
pub mod evaluate;
mod events;
mod example;
mod files;
pub mod flow_figures;
pub mod guide;
pub mod in_place;
pub mod learner;
pub mod lists;
mod log;
pub mod metrics;
pub mod optimizer;
pub mod pairs;
pub mod parameters;
mod plots;
mod progress;
pub mod protocol;
pub mod recipe;
pub mod sampler;
pub mod schedule;
mod skipped;
mod state;
pub mod synth;
pub mod trunk;
pub mod videos;

pub use error::{Error, Result};
pub use evaluate::evaluate;
pub use learner::{On, Report, train};
