//! What must hold of pictures: see `src/fuzzing.rs`.

use image::metadata::Orientation;

use super::develop::{SIDE, develop};
use super::sieve::{Kind, MOST_PIXELS, MOST_WIDE, sieve};

/// Pixels that are decoded here: small pictures go through the same code as large ones, and are tried more often.
const FEW: u64 = 64 * 64;

/// What comes through the sieve is within its bounds, brings nothing along and comes through again; what is made of it is a
/// picture of ours.
pub(crate) fn picture(input: &[u8]) {
    let Ok(sieved) = sieve(input) else { return };
    let pixels = u64::from(sieved.size.width) * u64::from(sieved.size.height);
    assert!((1..=MOST_PIXELS).contains(&pixels) && sieved.size.longest() <= MOST_WIDE, "{:?}", sieved.size);
    let again = sieve(&sieved.file);
    let again = again.unwrap_or_else(|flaw| unreachable!("what came through is taken for {flaw:?}"));
    assert_eq!((again.kind, again.size, again.is_photo), (sieved.kind, sieved.size, sieved.is_photo));
    assert!(again.orientation == Orientation::NoTransforms, "how the camera was held is still told");
    assert!(
        again.file == sieved.file,
        "the sieve lets something through that it would not let through again"
    );
    if pixels > FEW {
        return;
    }
    if let Ok(developed) = develop(input, true) {
        let ours = sieve(&developed.bytes);
        let ours = ours.unwrap_or_else(|flaw| unreachable!("what is ours is taken for {flaw:?}"));
        assert!(matches!(ours.kind, Kind::Png | Kind::Jpeg) && ours.size.longest() <= SIDE);
    }
}
