//! A hash that is the same on every machine and in every version: affinity and variants stay where
//! they are when a process is replaced.

/// The number of the golden ratio, 2^64 / φ, odd.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number for a key, for [`ByKey`](crate::ByKey) and [`Variants`](crate::Variants): the same for the
/// same bytes, on every machine and in every version. It is no secret, and not safe against who looks
/// for collisions.
///
/// ```
/// use buttress_failover::hash;
///
/// assert_eq!(hash(b"tenant 7"), hash(b"tenant 7"));
/// assert_ne!(hash(b"tenant 7"), hash(b"tenant 8"));
/// ```
#[must_use]
pub const fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, and a finalizer, since its upper bits are poor for short keys.
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
        at += 1;
    }
    mix(sum)
}

/// The finalizer of splitmix64: every bit of the result depends on every bit of `x`.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Where in `0..total` the fraction `part / 2^64` lies.
pub(crate) const fn within(part: u64, total: u64) -> u64 {
    ((part as u128 * total as u128) >> 64) as u64
}
