//! How fast this machine copies memory, which decides what a saved copy is worth.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

/// The sizes of the copied blocks: in the innermost caches, around the next one, and in none.
const SIZES: [u32; 3] = [64 << 10, 1 << 20, 64 << 20];
/// A turn copies at least this number of bytes.
const ENOUGH: u32 = 64 << 20;
/// The best turn counts: what is slower has been disturbed.
const TURNS: usize = 5;

/// Bytes of a block, and GB/s of copying it again and again.
pub fn speeds() -> Vec<(usize, f64)> {
    let speed = |size: u32| {
        let bytes = size as usize;
        let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
        let often = (ENOUGH / size).max(1);
        let turn = || {
            let begun = Instant::now();
            for _ in 0..often {
                to.copy_from_slice(black_box(&from));
                black_box(&mut to);
            }
            begun.elapsed().as_secs_f64()
        };
        let best = std::iter::repeat_with(turn).take(TURNS).fold(f64::INFINITY, f64::min);
        (bytes, f64::from(often) * f64::from(size) / best / 1e9)
    };
    SIZES.map(speed).to_vec()
}
