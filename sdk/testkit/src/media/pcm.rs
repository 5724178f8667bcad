//! Sound as samples: 16 kHz, one channel.

use std::f64::consts::TAU;

use super::timeline::Phrase;

/// Samples a second.
pub(super) const RATE: f64 = 16_000.0;

/// Number of samples in so many seconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "films last minutes, and negative lengths become 0"
)]
pub(super) fn samples(seconds: f64) -> usize {
    (seconds * RATE).round().max(0.0) as usize
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sample counts are far below 2^52"
)]
fn float(value: usize) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of i16"
)]
fn sample(value: f64) -> i16 {
    value.clamp(-32_000.0, 32_000.0) as i16
}

pub(super) fn from_bytes(bytes: &[u8]) -> Vec<i16> {
    bytes
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

pub(super) fn to_bytes(sound: &[i16]) -> Vec<u8> {
    sound.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Lets a sound begin and end softly, so that a cut makes no click.
pub(super) fn softened(sound: &mut [i16]) {
    const EDGE: usize = 96;
    let length = sound.len();
    for index in 0..EDGE.min(length / 2) {
        let factor = float(index) / float(EDGE);
        sound[index] = sample(f64::from(sound[index]) * factor);
        let mirror = length - 1 - index;
        sound[mirror] = sample(f64::from(sound[mirror]) * factor);
    }
}

/// The sound without the silence around it.
pub(super) fn trimmed(sound: &[i16]) -> &[i16] {
    let loud = |value: &i16| value.unsigned_abs() > 300;
    let Some(first) = sound.iter().position(loud) else {
        return &[];
    };
    let last = sound.iter().rposition(loud).unwrap_or(first);
    &sound[first..=last]
}

/// The same sound in another length at the same pitch: overlapping pieces are moved together
/// or apart, each where it fits best to the one before (WSOLA).
pub(super) fn stretched(sound: &[i16], length: usize) -> Vec<i16> {
    const PIECE: usize = 480;
    const STEP: usize = PIECE / 2;
    const SEARCH: usize = 96;
    if sound.len() < PIECE * 2 || length < PIECE * 2 {
        return sound.iter().copied().take(length).collect();
    }
    let ratio = float(sound.len() - PIECE) / float(length - PIECE);
    let mut mixed = vec![0.0; length + PIECE];
    let mut previous = 0_usize;
    for start in (0..length).step_by(STEP) {
        let wanted = samples(float(start) * ratio / RATE).min(sound.len() - PIECE);
        let natural = (previous + STEP).min(sound.len() - PIECE);
        let from = wanted.saturating_sub(SEARCH);
        let to = (wanted + SEARCH).min(sound.len() - PIECE);
        let likeness = |at: usize| -> i64 {
            (0..STEP)
                .step_by(4)
                .map(|index| i64::from(sound[at + index]) * i64::from(sound[natural + index]))
                .sum()
        };
        let best = if start == 0 {
            wanted
        } else {
            (from..=to)
                .step_by(3)
                .max_by_key(|&at| likeness(at))
                .unwrap_or(wanted)
        };
        for index in 0..PIECE {
            let window = 0.5 - 0.5 * (TAU * float(index) / float(PIECE)).cos();
            mixed[start + index] += f64::from(sound[best + index]) * window;
        }
        previous = best;
    }
    mixed.truncate(length);
    mixed.into_iter().map(sample).collect()
}

/// A hummed word, for texts that no voice here can speak: a tone with the colour of a vowel,
/// as long as the word.
pub(super) fn hummed(word: &Phrase, pitch: f64) -> Vec<i16> {
    let length = samples(word.end - word.start);
    let seed = word.text.chars().fold(7_u32, |seed, character| {
        seed.wrapping_mul(31).wrapping_add(u32::from(character))
    });
    let pitch = pitch * (0.9 + f64::from(seed % 7) * 0.035);
    let formant = 500.0 + f64::from(seed % 5) * 130.0;
    (0..length)
        .map(|index| {
            let time = float(index) / RATE;
            let place = float(index) / float(length.max(1));
            let envelope = (place * std::f64::consts::PI).sin().powf(0.6);
            let glide = pitch * (1.04 - 0.08 * place);
            let tone: f64 = (1..=8)
                .map(|harmonic| {
                    let frequency = glide * f64::from(harmonic);
                    let distance = (frequency - formant) / 350.0;
                    let weight = 0.15 / f64::from(harmonic) + (-distance * distance).exp();
                    weight * (TAU * frequency * time).sin()
                })
                .sum();
            sample(tone * envelope * 4_500.0)
        })
        .collect()
}

/// Lays a sound over a track from a moment on; what does not fit is cut.
pub(super) fn mix(track: &mut [i16], at: f64, sound: &[i16]) {
    let start = samples(at).min(track.len());
    for (target, value) in track[start..].iter_mut().zip(sound) {
        *target = target.saturating_add(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_keeps_the_pitch() {
        let tone: Vec<i16> = (0..16_000)
            .map(|index| sample((TAU * 200.0 * float(index) / RATE).sin() * 10_000.0))
            .collect();
        for length in [12_000, 20_000] {
            let other = stretched(&tone, length);
            assert_eq!(other.len(), length);
            let crossings = other
                .windows(2)
                .filter(|pair| pair[0] < 0 && pair[1] >= 0)
                .count();
            let frequency = float(crossings) / (float(length) / RATE);
            assert!((190.0..210.0).contains(&frequency), "{frequency} Hz");
        }
    }
}
