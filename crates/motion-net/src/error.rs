//! What can go wrong in the network, each with what was found, what was expected and the likely remedy.

/// The network's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which building or running a network fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `config.json` is not what the contract says.
    #[error("config.json: {0}")]
    Config(String),
    /// A parameter is not in the weights.
    #[error(
        "weights: {name:?} is missing (the model needs it with shape {expected:?}); is this another backbone's checkpoint, or does config.json name other motion stages?"
    )]
    WeightMissing {
        /// Its published name.
        name: String,
        /// The shape that the model needs.
        expected: Vec<usize>,
    },
    /// A parameter has another shape than the model needs.
    #[error(
        "weights: {name:?} is {found:?}, the model needs {expected:?}; is this another backbone's checkpoint?"
    )]
    WeightShape {
        /// Its published name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the model needs.
        expected: Vec<usize>,
    },
    /// A parameter holds a value that is no number.
    #[error(
        "weights: {name:?} holds {value} at element {index}; every weight must be finite: was the training run diverging, or the file damaged?"
    )]
    WeightNotFinite {
        /// Its published name.
        name: String,
        /// Where, counting elements in the file's order.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// The weights hold tensors that no part of the model uses.
    #[error(
        "weights: {} tensor(s) that this model does not have, the first is {:?}; does config.json describe this checkpoint?",
        names.len(), names.first().map_or("", String::as_str)
    )]
    WeightsUnused {
        /// Their names.
        names: Vec<String>,
    },
    /// A file of weights cannot be read.
    #[error("weights: {0}")]
    WeightFile(String),
    /// A PyTorch checkpoint cannot be read.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A tensor has another shape than an operation takes.
    #[error("{operation}: found shape {found:?}, expected {expected}")]
    Shape {
        /// Which operation.
        operation: &'static str,
        /// The shape that came.
        found: Vec<usize>,
        /// The shape that it takes, in words.
        expected: String,
    },
    /// A stage that the backbone does not have.
    #[error("stage {found:?} is not one of this backbone's stages: {}", known.join(", "))]
    UnknownStage {
        /// What was asked for.
        found: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The backend itself failed (out of memory, lost device, ...).
    #[error("{backend} backend: {message}")]
    Backend {
        /// Which backend.
        backend: &'static str,
        /// Its own words.
        message: String,
    },
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        // candle appends a backtrace when one is asked for; its first line says what happened.
        let message = error.to_string();
        Self::Backend { backend: "cpu", message: message.lines().next().unwrap_or_default().to_owned() }
    }
}
