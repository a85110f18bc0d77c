//! The network's parameters while they are trained: first values in, variables out.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use motion_net::config::Backbone;
use motion_net::weights::{ParameterSource, Role, names};
use motion_net::{HostTensor, Training, Weights};
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

/// Which parameters keep their first values.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// All of these stages.
    pub stages: Vec<&'static str>,
    /// The channel reductions of motion modules with these tails.
    pub reductions: Vec<String>,
    /// Every norm of the backbone after its first one (TSN's partial batch norm).
    pub norms: bool,
}

impl Frozen {
    fn has(&self, backbone: Backbone, stage: Option<&'static str>, name: &str, role: Role) -> bool {
        match stage {
            None => self.reductions.iter().any(|tail| names::is_reduction_of(tail, name)),
            Some(stage) => {
                let norm = !matches!(role, Role::Weight | Role::Bias);
                self.stages.contains(&stage) || (self.norms && norm && stage != backbone.stages()[0])
            }
        }
    }
}

/// Hands out parameters and keeps them: given values where there are some, else random ones after the published
/// code (convolutions Kaiming normal with fan out, the classifier Xavier uniform).
pub struct Parameters {
    backbone: Backbone,
    first: Weights,
    frozen: Frozen,
    random: ChaCha8Rng,
    device: Device,
    parameters: BTreeMap<String, Parameter>,
}

impl Parameters {
    /// Values from `first` where it has them, and random ones that follow from `seed`, on this device.
    pub fn new(backbone: Backbone, first: Weights, frozen: Frozen, seed: u64, device: &Device) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { backbone, first, frozen, random, device: device.clone(), parameters: BTreeMap::new() }
    }

    /// The parameters by published name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Parameter)> {
        self.parameters.iter()
    }

    /// Those that are not frozen, the norms' statistics among them.
    pub fn variables(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.iter().filter_map(|(name, parameter)| Some((name, parameter.variable.as_ref()?)))
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
    /// [`motion_net::Error::WeightMissing`], [`motion_net::Error::WeightShape`] or a failing backend.
    pub fn restore(&self, weights: &Weights) -> Result<()> {
        for (name, variable) in self.variables() {
            let expected = variable.dims().to_vec();
            let Some(stored) = weights.tensors().get(name) else {
                return Err(motion_net::Error::WeightMissing { name: name.clone(), expected }.into());
            };
            if stored.data.len() != variable.elem_count() {
                let (name, found) = (name.clone(), stored.shape.clone());
                return Err(motion_net::Error::WeightShape { name, found, expected }.into());
            }
            variable.set(&Tensor::from_slice(&stored.data, variable.dims(), &self.device)?)?;
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

impl<B: Training> ParameterSource<B> for Parameters {
    fn parameter(&mut self, name: &str, shape: &[usize], role: Role) -> motion_net::Result<Tensor> {
        let stage = names::stage_of(self.backbone, name);
        let values = self.first_values(name, shape, role);
        let tensor = Tensor::from_vec(values, shape, &self.device)?;
        let variable = match self.frozen.has(self.backbone, stage, name, role) {
            true => None,
            false => Some(Var::from_tensor(&tensor)?),
        };
        let tensor = variable.as_ref().map_or(tensor, |variable| variable.as_tensor().clone());
        let parameter = Parameter { role, stage, tensor: tensor.clone(), variable };
        self.parameters.insert(name.to_owned(), parameter);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use motion_net::CpuBackend;

    use super::*;

    fn of_cpu(parameters: &mut Parameters) -> &mut dyn ParameterSource<CpuBackend> {
        parameters
    }

    #[test]
    fn reductions_are_frozen_one_by_one() {
        let frozen = Frozen { reductions: vec!["_res3".to_owned()], ..Frozen::default() };
        let mut parameters = Parameters::new(Backbone::ResNet18, Weights::default(), frozen, 0, &Device::Cpu);
        for tail in ["_res2", "_res3"] {
            let name = format!("base_model.chnl_reduction{tail}.0.weight");
            of_cpu(&mut parameters).parameter(&name, &[2, 2, 1, 1], Role::Weight).unwrap();
        }
        let variables: Vec<&str> = parameters.variables().map(|(name, _)| name.as_str()).collect();
        assert_eq!(variables, ["base_model.chnl_reduction_res2.0.weight"]);
    }

    #[test]
    fn partial_norms_freeze_all_but_the_first() {
        let frozen = Frozen { norms: true, ..Frozen::default() };
        let mut parameters = Parameters::new(Backbone::ResNet18, Weights::default(), frozen, 0, &Device::Cpu);
        for (name, role) in [
            ("base_model.bn1.weight", Role::NormScale),
            ("base_model.bn1.running_mean", Role::RunningMean),
            ("base_model.layer1.0.bn1.weight", Role::NormScale),
            ("base_model.layer1.0.bn1.running_var", Role::RunningVariance),
            ("base_model.layer1.0.conv1.weight", Role::Weight),
            ("base_model.flow_refinement.conv1.1.bias", Role::NormShift),
        ] {
            let shape: &[usize] = if role == Role::Weight { &[3, 3, 1, 1] } else { &[3] };
            of_cpu(&mut parameters).parameter(name, shape, role).unwrap();
        }
        let variables: Vec<&str> = parameters.variables().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "base_model.bn1.running_mean",
            "base_model.bn1.weight",
            "base_model.flow_refinement.conv1.1.bias",
            "base_model.layer1.0.conv1.weight",
        ];
        assert_eq!(variables, expected);
    }
}
