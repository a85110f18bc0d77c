//! Everything that a run needs to go on, in one file: killed at any moment, it ends with the weights that it would
//! have had. The one before is kept too, so that there always is a whole one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use motion_net::{HostTensor, Weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::average::Average;
use crate::error::{Error, Result, at};
use crate::files;
use crate::metrics::Confusion;
use crate::optimizer::{Moments, Optimizer};
use crate::parameters::Parameters;
use crate::progress;
use crate::recipe::Recipe;
use crate::skipped::Skipped;

const FILE: &str = "state.safetensors";
const PREVIOUS: &str = "state.previous.safetensors";

/// What changes from step to step, beside the parameters. Order and views of an epoch's clips and dropout's random
/// numbers follow from the recipe's seed and from this.
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) optimizer: Optimizer,
    pub(crate) average: Option<Average>,
}

/// How far a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Finished epochs.
    pub(crate) epoch: usize,
    /// Steps of the one under way, those included of whose clips none could be read.
    pub(crate) steps: usize,
    /// Its clips that were seen so far.
    pub(crate) seen: usize,
    /// Its clips' losses so far, added up.
    pub(crate) loss: f64,
    /// How its clips were classified so far.
    pub(crate) confusion: Confusion,
    /// How long it has taken so far.
    pub(crate) secs: f64,
    /// Top-1 on the validation clips, or the maps' negative error where only they learn.
    pub(crate) best: Option<f64>,
    /// The first epoch (from 1) that had it.
    pub(crate) best_epoch: usize,
    /// Videos of the training set that are left out: what was once bad stays out, even if somebody mends it.
    pub(crate) skipped_train: Vec<Skipped>,
    /// The same of the validation set.
    pub(crate) skipped_validate: Vec<Skipped>,
}

impl State {
    /// Before the first step.
    pub(crate) fn new(parameters: &Parameters, recipe: &Recipe, classes: usize) -> Result<Self> {
        let average = (recipe.average > 0.0).then(|| Average::new(parameters, recipe.average)).transpose()?;
        let position = Position {
            epoch: 0,
            steps: 0,
            seen: 0,
            loss: 0.0,
            confusion: Confusion::new(classes),
            secs: 0.0,
            best: None,
            best_epoch: 0,
            skipped_train: Vec::new(),
            skipped_validate: Vec::new(),
        };
        Ok(Self { position, optimizer: Optimizer::new(), average })
    }

    /// Forgets what an earlier run of this folder has left.
    pub(crate) fn clear(folder: &Path) -> Result<()> {
        files::remove(&folder.join(FILE))?;
        files::remove(&folder.join(PREVIOUS))
    }

    /// Writes it into a folder.
    pub(crate) fn save(&self, folder: &Path, parameters: &Parameters, recipe: &Recipe) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let mut put = |part: &str, name: &String, shape: &[usize], data: Vec<f32>| -> Result<()> {
            tensors.insert(format!("{part}.{name}"), HostTensor::new(shape, data)?);
            Ok(())
        };
        for (name, variable) in parameters.variables() {
            put("parameter", name, variable.dims(), variable.flatten_all()?.to_vec1()?)?;
        }
        for (name, Moments { first, second }) in &self.optimizer.moments {
            put("first", name, &[first.len()], first.clone())?;
            put("second", name, &[second.len()], second.clone())?;
        }
        for (name, values) in self.average.iter().flat_map(|average| &average.values) {
            put("average", name, &[values.len()], values.clone())?;
        }
        let header = Header {
            step: self.optimizer.step,
            position: self.position.clone(),
            recipe: recipe.text.clone(),
        };
        let path = folder.join(FILE);
        let bytes =
            encode(&header, &tensors).map_err(|message| Error::State { path: path.clone(), message })?;
        files::write_keeping(&path, &folder.join(PREVIOUS), &bytes)
    }

    /// Reads the last whole state of a folder and puts its values into the parameters; `None` where the run was stopped
    /// before its first one.
    pub(crate) fn restore(folder: &Path, parameters: &Parameters, recipe: &Recipe) -> Result<Option<Self>> {
        let [last, before] = [FILE, PREVIOUS].map(|name| read(&folder.join(name)));
        let found = match (last, before) {
            (Ok(Some(state)), _) | (Ok(None), Ok(Some(state))) => Some(state),
            (Err(error), Ok(Some(state))) => {
                progress::line(&format!("note: {error}; going on from the state before it"));
                Some(state)
            }
            (Ok(None), Ok(None)) => None,
            (Err(Error::State { path, message }), _) | (Ok(None), Err(Error::State { path, message })) => {
                let message = format!("{message}; start anew, without --resume");
                return Err(Error::State { path, message });
            }
            (Err(error), _) | (Ok(None), Err(error)) => return Err(error),
        };
        let Some((Header { step, position, recipe: text }, tensors)) = found else { return Ok(None) };
        same_recipe(folder, &text, &recipe.text)?;
        let part = |part: &str| -> BTreeMap<String, HostTensor> {
            let tensors = tensors.iter();
            let named = tensors.filter_map(|(name, tensor)| Some((name.strip_prefix(part)?, tensor)));
            named.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
        };
        parameters.restore(&Weights::new(part("parameter.")))?;
        let mut second = part("second.");
        let moments = part("first.").into_iter().map(|(name, first)| {
            let second = second.remove(&name).map_or_else(Vec::new, |second| second.data);
            (name, Moments { first: first.data, second })
        });
        let optimizer = Optimizer { step, moments: moments.collect() };
        let average = match recipe.average {
            0.0 => None,
            decay => {
                let values = part("average.").into_iter().map(|(name, tensor)| (name, tensor.data));
                Some(Average { decay, values: values.collect() })
            }
        };
        Ok(Some(Self { position, optimizer, average }))
    }
}

/// What the file says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    step: usize,
    recipe: String,
    position: Position,
}

/// A safetensors file: the header and a checksum of the values are its metadata.
fn encode(header: &Header, tensors: &BTreeMap<String, HostTensor>) -> std::result::Result<Vec<u8>, String> {
    let values: Vec<Vec<u8>> = tensors
        .values()
        .map(|tensor| tensor.data.iter().map(|v| v.to_le_bytes()).collect::<Vec<_>>().into_flattened())
        .collect();
    let checksum = values.iter().fold(0, |sum, values| crc32c::crc32c_append(sum, values));
    // TOML, because its numbers survive to the last bit.
    let header = toml::to_string(header).map_err(|error| error.to_string())?;
    let metadata =
        HashMap::from([("header".to_owned(), header), ("checksum".to_owned(), checksum.to_string())]);
    let views = tensors.iter().zip(&values).map(|((name, tensor), values)| {
        Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), values)?))
    });
    let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
    views.and_then(|views| safetensors::serialize(views, Some(metadata))).map_err(|error| error.to_string())
}

type Stored = (Header, BTreeMap<String, HostTensor>);

/// A state; `None` where there is no file.
fn read(path: &Path) -> Result<Option<Stored>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
        Ok(bytes) => match decode(&bytes) {
            Ok(state) => Ok(Some(state)),
            Err(what) => {
                let message = format!("is no whole state of a run ({what})");
                Err(Error::State { path: path.to_owned(), message })
            }
        },
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<Stored, String> {
    let text = |error: safetensors::SafeTensorError| error.to_string();
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(text)?;
    let entry = |name: &str| {
        metadata.metadata().as_ref().and_then(|entries| entries.get(name)).ok_or(format!("no {name}"))
    };
    let tensors: BTreeMap<String, TensorView<'_>> = SafeTensors::deserialize(bytes)
        .map_err(text)?
        .iter()
        .map(|(name, view)| (name.to_owned(), view))
        .collect();
    let checksum = tensors.values().fold(0, |sum, view| crc32c::crc32c_append(sum, view.data()));
    if checksum.to_string() != *entry("checksum")? {
        return Err("its values are not those of its checksum".into());
    }
    let values = tensors.into_iter().map(|(name, view)| {
        let data = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (name, HostTensor { shape: view.shape().to_vec(), data })
    });
    let header = toml::from_str(entry("header")?).map_err(|error| error.message().to_owned())?;
    Ok((header, values.collect()))
}

/// A run that goes on is one run: its recipe is the one that it began with.
fn same_recipe(folder: &Path, then: &str, now: &str) -> Result<()> {
    let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap_or_default();
    let (then, now) = (table(then), table(now));
    let Some(key) = then.keys().chain(now.keys()).find(|key| then.get(*key) != now.get(*key)) else {
        return Ok(());
    };
    let value = |table: &toml::Table| table.get(key).map_or("absent".to_owned(), ToString::to_string);
    let message = format!(
        "was written with another recipe: {key:?} was {}, now it is {}; put it back, or start anew without --resume",
        value(&then).replace('\n', " "),
        value(&now).replace('\n', " ")
    );
    Err(Error::State { path: folder.join(FILE), message })
}

#[cfg(test)]
mod tests {
    use motion_net::config::Backbone;

    use super::*;
    use crate::parameters::Frozen;

    fn stored() -> Stored {
        let position = Position {
            epoch: 2,
            steps: 5,
            seen: 40,
            loss: 0.1 + 0.2,
            confusion: Confusion::new(3),
            secs: 1.0 / 3.0,
            best: Some(-f64::INFINITY),
            best_epoch: 1,
            skipped_train: vec![Skipped { index: 7, problem: "the file is \"empty\"".to_owned() }],
            skipped_validate: Vec::new(),
        };
        let tensor = |data: Vec<f32>| HostTensor { shape: vec![data.len()], data };
        let tensors = [("first.a", vec![0.1, -f32::MIN_POSITIVE / 2.0, 3e38]), ("second.a", Vec::new())];
        let tensors = tensors.map(|(name, data)| (name.to_owned(), tensor(data)));
        (Header { step: 7, recipe: "seed = 1".into(), position }, BTreeMap::from(tensors))
    }

    #[test]
    fn a_state_survives_to_the_last_bit() {
        let (header, tensors) = stored();
        let (read, values) = decode(&encode(&header, &tensors).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{header:?}"));
        let bits = |tensors: &BTreeMap<String, HostTensor>| -> Vec<Vec<u32>> {
            tensors.values().map(|tensor| tensor.data.iter().map(|v| v.to_bits()).collect()).collect()
        };
        assert_eq!(bits(&values), bits(&tensors));
    }

    #[test]
    fn a_torn_state_is_none() {
        let (header, tensors) = stored();
        let bytes = encode(&header, &tensors).unwrap();
        for length in [0, 7, 100, bytes.len() - 1] {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        let mut spoilt = bytes;
        *spoilt.last_mut().unwrap() ^= 1;
        assert!(decode(&spoilt).unwrap_err().contains("checksum"));
    }

    #[test]
    fn the_state_before_a_torn_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(read(&path(FILE)).unwrap().is_none());
        let (header, tensors) = stored();
        std::fs::write(path(PREVIOUS), encode(&header, &tensors).unwrap()).unwrap();
        std::fs::write(path(FILE), b"torn").unwrap();
        let parameters = Parameters::new(
            Backbone::ResNet18,
            Weights::default(),
            Frozen::default(),
            0,
            &candle_core::Device::Cpu,
        );
        let recipe = Recipe { text: header.recipe, ..Recipe::example() };
        let state = State::restore(folder.path(), &parameters, &recipe).unwrap().unwrap();
        assert_eq!((state.optimizer.step, state.position.steps), (7, 5));
        let other = Recipe { text: "seed = 2".into(), ..recipe };
        let message = State::restore(folder.path(), &parameters, &other).err().unwrap().to_string();
        assert!(message.contains("\"seed\" was 1, now it is 2"), "{message}");
        State::clear(folder.path()).unwrap();
        assert!(State::restore(folder.path(), &parameters, &other).unwrap().is_none());
    }
}
