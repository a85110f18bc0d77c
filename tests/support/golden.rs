//! Reads `fixtures/golden`: the index, and the tensors of a case as plain numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use motion_net::{HostTensor, Weights};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;

/// Path of a golden file.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name)
}

/// Bytes of a golden file.
pub fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `index.json` says of every file.
pub fn index() -> serde_json::Map<String, Value> {
    let index: Value = serde_json::from_slice(&bytes("index.json")).expect("index.json is JSON");
    index["files"].as_object().expect("index.json lists files").clone()
}

/// One golden file.
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its entry in the index.
    pub entry: Value,
    /// Its numbers by name, channels first as PyTorch has them.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Case {
    /// Every case of a kind.
    pub fn all(kind: &str) -> Vec<Self> {
        let of_kind = index().into_iter().filter(|(_, entry)| entry["kind"] == kind);
        of_kind.map(|(name, entry)| Self { tensors: numbers(&bytes(&name)), name, entry }).collect()
    }

    /// A number of the case's configuration.
    pub fn size(&self, key: &str) -> usize {
        let value = self.entry["config"][key].as_u64();
        value.unwrap_or_else(|| panic!("{}: no number {key:?} in its configuration", self.name)) as usize
    }

    /// A tensor that must be there.
    pub fn tensor(&self, name: &str) -> &HostTensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name:?}", self.name))
    }

    /// Names of everything that is expected, without `expect.`.
    pub fn expected(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().filter_map(|name| name.strip_prefix("expect."))
    }

    /// How far PyTorch's own f32 result is from the same computation in f64.
    pub fn rounding(&self, expected: &str) -> Option<f32> {
        let tensor = &self.entry["tensors"][format!("expect.{expected}")];
        tensor["f32_vs_f64"].as_f64().map(|value| value as f32)
    }

    /// The largest absolute value of an expected tensor.
    pub fn largest(&self, expected: &str) -> f32 {
        self.tensor(&format!("expect.{expected}")).data.iter().fold(0.0, |most, v| most.max(v.abs()))
    }

    /// Its parameters: those of the files that the index names, the later ones winning.
    pub fn weights(&self) -> Weights {
        let sources = match &self.entry["weights"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => {
                many.iter().map(|one| one.as_str().expect("a file name").to_owned()).collect()
            }
            other => panic!("{}: weights are {other}", self.name),
        };
        let mut weights = BTreeMap::new();
        for source in sources {
            let other;
            let tensors = if source == "here" {
                &self.tensors
            } else {
                other = numbers(&bytes(&source));
                &other
            };
            let named = tensors.iter().filter_map(|(name, tensor)| {
                let name = name.strip_prefix("weight.")?;
                (!name.ends_with("num_batches_tracked")).then(|| (name.to_owned(), tensor.clone()))
            });
            weights.extend(named);
        }
        Weights::new(weights)
    }
}

/// All tensors of a safetensors file, whatever their type, as f32 (golden integers are small).
pub fn numbers(bytes: &[u8]) -> BTreeMap<String, HostTensor> {
    let file = SafeTensors::deserialize(bytes).expect("golden files are safetensors");
    let tensors = file.iter().map(|(name, view)| {
        let bytes = view.data();
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::I32 => bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b) as f32).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
            Dtype::U8 => bytes.iter().map(|&b| b.into()).collect(),
            other => panic!("{name}: type {other:?}"),
        };
        (name.to_owned(), HostTensor::new(view.shape(), data).expect("shape and data agree"))
    });
    tensors.collect()
}

/// `[N, C, H, W]` to `[N, H, W, C]`.
pub fn channels_last(x: &HostTensor) -> HostTensor {
    let &[n, c, h, w] = x.shape.as_slice() else { panic!("shape {:?}", x.shape) };
    let data = (0..n * h * w * c).map(|i| {
        let (channel, place, item) = (i % c, i / c % (h * w), i / (c * h * w));
        x.data[(item * c + channel) * h * w + place]
    });
    HostTensor { shape: vec![n, h, w, c], data: data.collect() }
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
pub fn channels_first(x: &HostTensor) -> HostTensor {
    let &[n, h, w, c] = x.shape.as_slice() else { panic!("shape {:?}", x.shape) };
    let data = (0..n * h * w * c).map(|i| {
        let (place, channel, item) = (i % (h * w), i / (h * w) % c, i / (c * h * w));
        x.data[(item * h * w + place) * c + channel]
    });
    HostTensor { shape: vec![n, c, h, w], data: data.collect() }
}
