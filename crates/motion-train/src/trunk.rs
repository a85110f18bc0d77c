//! An ImageNet-trained MobileNetV2 as a folder of `.npy` files (Gluon's names and layout) becomes weights with the
//! published names.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use motion_net::weights::names::{self, LayerName};
use motion_net::{HostTensor, Weights};

use crate::error::{Error, Result};

/// Bottlenecks of MobileNetV2.
const BOTTLENECKS: usize = 17;

/// Reads every convolution and norm up to the last 1280 features; there is no classifier. The first bottleneck has
/// its expansion too, so the model needs `expand_first_block`.
///
/// # Errors
/// [`Error::Data`] naming the file that is missing or is no array.
pub fn read(folder: &Path) -> Result<Weights> {
    let mut tensors = BTreeMap::new();
    let mut layer = |name: LayerName, conv: &str, norm: &str| -> Result<()> {
        tensors.insert(format!("{}.weight", name.conv), array(folder, &format!("{conv}_weight"))?);
        for (ours, theirs) in [
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "running_mean"),
            ("running_var", "running_var"),
        ] {
            let prefix = name.norm.as_deref().unwrap_or_default();
            tensors.insert(format!("{prefix}.{ours}"), array(folder, &format!("{norm}_{theirs}"))?);
        }
        Ok(())
    };
    layer(names::mobilenet_conv(0), "conv0", "batchnorm0")?;
    for block in 0..BOTTLENECKS {
        for conv in 0..3 {
            let theirs = format!("linearbottleneck{block}");
            let name = names::mobilenet_bottleneck(block + 1, conv, false);
            layer(name, &format!("{theirs}_conv{conv}"), &format!("{theirs}_batchnorm{conv}"))?;
        }
    }
    layer(names::mobilenet_conv(BOTTLENECKS + 1), "conv1", "batchnorm1")?;
    Ok(Weights::new(tensors))
}

fn array(folder: &Path, name: &str) -> Result<HostTensor> {
    let path = folder.join(format!("mobilenetv20_features_{name}.npy"));
    let wrong = |message: String| Error::Data { path: path.clone(), message };
    let tensor = Tensor::read_npy(&path).map_err(|error| {
        let reason = error.to_string();
        wrong(format!(
            "cannot be read as an array ({}); expected Gluon's MobileNetV2 1.0",
            first_line(&reason)
        ))
    })?;
    let data = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(HostTensor::new(tensor.dims(), data)?)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
