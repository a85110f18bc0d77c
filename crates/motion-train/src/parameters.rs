//! The network's parameters while they are trained: first values in, variables out.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use motion_net::config::Backbone;
use motion_net::weights::{ParameterSource, Role, names};
use motion_net::{CpuBackend, HostTensor, Weights};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;

/// One parameter.
pub struct Parameter {
    /// What it is for.
    pub role: Role,
    /// Its stage; `None` for motion modules and the classifier.
    pub stage: Option<&'static str>,
    /// Its values now.
    pub tensor: Tensor,
    /// The same as a variable, unless it is frozen.
    pub variable: Option<Var>,
}

/// Hands out parameters and keeps them: given values where there are some, else random ones after the published
/// code (convolutions Kaiming normal with fan out, the classifier Xavier uniform).
pub struct Parameters {
    backbone: Backbone,
    first: Weights,
    frozen: Vec<&'static str>,
    freeze_reductions: bool,
    random: ChaCha8Rng,
    parameters: BTreeMap<String, Parameter>,
}

impl Parameters {
    /// `frozen`: stages whose parameters stay as they are; `freeze_reductions`: whether those of the motion modules'
    /// channel reductions do.
    pub fn new(
        backbone: Backbone,
        first: Weights,
        frozen: &[&'static str],
        freeze_reductions: bool,
        seed: u64,
    ) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let frozen = frozen.to_vec();
        Self { backbone, first, frozen, freeze_reductions, random, parameters: BTreeMap::new() }
    }

    /// The parameters by published name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Parameter)> {
        self.parameters.iter()
    }

    /// A copy of every value under its published name and shape.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn weights(&self) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let shape = names::published_shape(self.backbone, name, parameter.tensor.dims());
            let data = parameter.tensor.flatten_all()?.to_vec1::<f32>()?;
            tensors.insert(name.clone(), HostTensor::new(shape, data)?);
        }
        Ok(Weights::new(tensors))
    }

    /// Puts stored values back into the variables.
    ///
    /// # Errors
    /// [`motion_net::Error::WeightMissing`] or a failing backend.
    pub fn restore(&self, weights: &Weights) -> Result<()> {
        for (name, parameter) in &self.parameters {
            let Some(variable) = &parameter.variable else { continue };
            let Some(stored) = weights.tensors().get(name) else {
                let expected = variable.dims().to_vec();
                return Err(motion_net::Error::WeightMissing { name: name.clone(), expected }.into());
            };
            variable.set(&Tensor::from_slice(&stored.data, variable.dims(), &Device::Cpu)?)?;
        }
        Ok(())
    }

    fn first_values(&mut self, name: &str, shape: &[usize], role: Role) -> Vec<f32> {
        let count = shape.iter().product();
        match self.first.tensors().get(name) {
            Some(given) if given.data.len() == count => given.data.clone(),
            _ => match role {
                Role::Weight if shape.len() == 2 => {
                    let limit = (6.0 / (shape[0] + shape[1]) as f32).sqrt();
                    (0..count).map(|_| self.random.random_range(-limit..limit)).collect()
                }
                Role::Weight => {
                    let fan_out = shape[0] * shape[2..].iter().product::<usize>();
                    let deviation = (2.0 / fan_out as f32).sqrt();
                    (0..count).map(|_| deviation * normal(&mut self.random)).collect()
                }
                Role::NormScale | Role::RunningVariance => vec![1.0; count],
                Role::Bias | Role::NormShift | Role::RunningMean => vec![0.0; count],
            },
        }
    }
}

/// One draw from the standard normal distribution (Box and Muller).
fn normal(random: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (1.0 - random.random::<f32>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

impl ParameterSource<CpuBackend> for Parameters {
    fn parameter(&mut self, name: &str, shape: &[usize], role: Role) -> motion_net::Result<Tensor> {
        let stage = names::stage_of(self.backbone, name);
        let values = self.first_values(name, shape, role);
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        let variable = match stage {
            Some(stage) if self.frozen.contains(&stage) => None,
            None if self.freeze_reductions && names::is_reduction(name) => None,
            _ => Some(Var::from_tensor(&tensor)?),
        };
        let tensor = variable.as_ref().map_or(tensor, |variable| variable.as_tensor().clone());
        let parameter = Parameter { role, stage, tensor: tensor.clone(), variable };
        self.parameters.insert(name.to_owned(), parameter);
        Ok(tensor)
    }
}
