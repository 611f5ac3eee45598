//! A known call tree in Rust: work calls seventy, twenty and ten on a thread.

use std::hint::black_box;

mod tree {
    use super::black_box;

    #[inline(never)]
    pub fn burn(rounds: u64) -> u64 {
        let mut x = black_box(1u64);
        for _ in 0..rounds {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
        x
    }

    #[inline(never)]
    pub fn seventy() -> u64 {
        black_box(burn(700_000)) + 1
    }

    #[inline(never)]
    pub fn twenty() -> u64 {
        black_box(burn(200_000)) + 2
    }

    #[inline(never)]
    pub fn ten() -> u64 {
        black_box(burn(100_000)) + 3
    }

    #[inline(never)]
    pub fn work() -> u64 {
        black_box(seventy()) ^ black_box(twenty()) ^ black_box(ten())
    }
}

fn main() {
    std::thread::spawn(|| {
        loop {
            black_box(tree::work());
        }
    })
    .join()
    .unwrap();
}
