//! `x-random` and `x-local-random`: one binding, drawn at random.
//!
//! Both draw from the exchange's list of bindings, so a queue bound twice is twice as likely (as in RabbitMQ).
//! On one node every queue is local; what sets `x-local-random` apart is what it lets itself be bound to:
//! classic queues, with an empty routing key. There is no random source here: the caller seeds the scratch.

/// Draws the next number of the sequence that `seed` stands for (splitmix64).
pub(crate) fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    super::stable_hash::mix(*seed)
}

/// An index below `len`, which must not be zero.
pub(crate) fn draw_index(seed: &mut u64, len: usize) -> usize {
    assert!(0 < len);
    // The high half of the product is uniform to within len / 2^64.
    ((u128::from(draw(seed)) * len as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_every_index_about_equally() {
        let mut seed = 7;
        let mut hits = [0u32; 5];
        for _ in 0..50_000 {
            hits[draw_index(&mut seed, 5)] += 1;
        }
        assert!(
            hits.iter().all(|&n| (9_500..10_500).contains(&n)),
            "seed 7: {hits:?}"
        );
    }
}
