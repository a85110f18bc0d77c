//! Is our temporal shift the published one, bit for bit?

use motion_net::{Backend, CpuBackend};
use motionlens_tests::{golden, now};

#[test]
fn golden() {
    let b = CpuBackend::new();
    let cases = golden::Case::all("temporal_shift");
    assert!(!cases.is_empty(), "the fixture is there");
    for case in cases {
        let x = b.upload(&golden::channels_last(case.tensor("input.x"))).unwrap();
        let y = b.temporal_shift(&x, case.size("t")).unwrap();
        // Values are moved, not computed: no tolerance.
        assert_eq!(
            golden::channels_first(&now(b.read(&y)).unwrap()),
            *case.tensor("expect.y"),
            "{}",
            case.name
        );
    }
}

/// The comparison can fail: clips of another length give another answer.
#[test]
fn another_length_differs() {
    let b = CpuBackend::new();
    for case in golden::Case::all("temporal_shift") {
        let x = b.upload(&golden::channels_last(case.tensor("input.x"))).unwrap();
        let y = b.temporal_shift(&x, case.size("t") / 2).unwrap();
        assert_ne!(golden::channels_first(&now(b.read(&y)).unwrap()), *case.tensor("expect.y"));
    }
}

#[test]
fn misfits_are_refused() {
    let b = CpuBackend::new();
    for (shape, frames, words) in
        [([4, 2, 2, 12], 4, "multiple of 8"), ([4, 2, 2, 8], 3, "3 frames"), ([4, 2, 2, 8], 0, "0 frames")]
    {
        let x = motion_net::HostTensor::new(shape, vec![0.0; shape.iter().product()]).unwrap();
        let error = b.temporal_shift(&b.upload(&x).unwrap(), frames).unwrap_err().to_string();
        assert!(error.contains("temporal_shift") && error.contains(words), "{error}");
    }
}
