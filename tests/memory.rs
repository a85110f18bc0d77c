//! How much memory do the activations take on the graphics card?
//!
//! Whole networks on clips of 8 x 224 x 224, rehearsed: every tensor is made, nothing is computed. What they must have at
//! the least is the input and the output of one layer, the largest such pair; more are the skip paths, what another
//! estimation begins from, and buffers that wait to be used again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use motion_net::backend::{Backend, HostTensor};
use motion_net::gpu::Memory;
use motion_net::weights::{ParameterSource, Role};
use motion_net::{Config, Estimation, Estimator, GpuBackend, Mode, MsNet, Result};
use motionlens_tests::{async_test, gpu, say};

const FRAMES: usize = 8;
const SIDE: usize = 224;

/// Parameters that are there, with nothing in them.
struct Zeros<'a>(&'a GpuBackend);

impl ParameterSource<GpuBackend> for Zeros<'_> {
    fn parameter(&mut self, _: &str, shape: &[usize], _: Role) -> Result<HostTensor> {
        self.0.parameter(HostTensor::new(shape, vec![0.0; shape.iter().product()])?)
    }
}

/// Bytes of the largest input and output of one layer: side and channels of each. A clip's three channels take four.
fn pair(maps: [(usize, usize); 2]) -> u64 {
    maps.iter().map(|(side, channels)| (4 * FRAMES * side * side * channels) as u64).sum()
}

/// Several clips, one after the other, each with another estimator as well.
fn session(b: &GpuBackend, net: &MsNet<GpuBackend>) -> Result<()> {
    let clip = HostTensor::new([1, FRAMES, SIDE, SIDE, 3], vec![0.0; FRAMES * SIDE * SIDE * 3])?;
    for _ in 0..3 {
        let mut pass = net.forward(b, &clip, &Estimation::default())?;
        pass.rewind_to_motion();
        let soft = Estimation { estimator: Estimator::Soft, ..Estimation::default() };
        while net.advance(b, &mut pass, &soft, Mode::EVAL)?.is_some() {}
    }
    Ok(())
}

#[async_test]
async fn activations_take_little_more_than_the_largest_layer() {
    for (backbone, stage, maps, most) in [
        ("tsm_resnet18", "res3", [(224, 4), (112, 64)], 1.3),
        ("tsm_mobilenet_v2", "stage3", [(112, 16), (112, 96)], 1.3),
        // A bottleneck's last convolution has its skip path beside it, as large as its output: that alone is 1.5.
        ("tsm_resnet50", "res3", [(56, 256), (56, 128)], 1.75),
    ] {
        // Each has its own: the peak is that of all it ran.
        let Some(b) = gpu().await else { return };
        let config = format!(
            r#"{{"architecture": "msnet", "backbone": "{backbone}", "frames": {FRAMES}, "input_size": {SIDE},
                "resize": [240, 320], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
                "sampling": "segment", "id2label": {{"0": "one", "1": "another"}}, "motion": {{"stages": ["{stage}"],
                "patch": 15, "reduce_channels": 64, "estimator": "kernel", "sigma": 5.0, "temperature": 0.01,
                "confidence": true, "backward": false, "fusion": "add"}}}}"#
        );
        let net = MsNet::build(&b, Config::from_json(&config).unwrap(), &mut Zeros(&b)).unwrap();
        b.rehearse(|| session(&b, &net)).unwrap();
        let Memory { activations_peak, .. } = b.memory();
        let ratio = activations_peak as f64 / pair(maps) as f64;
        say(&format!("{backbone}: {:.1} MB, {ratio:.2} of the largest pair", activations_peak as f64 * 1e-6));
        // Less than the pair could not be: then the count would be wrong.
        assert!((1.0..=most).contains(&ratio), "{backbone}: {ratio:.2} times the largest pair");
    }
}
