//! min-char-rnn's way through the text.

use super::{Lanes, Lengths, WindowRule, Windows};

/// [`Windows`] of one length that all go back to their start together.
///
/// char-rnn (Karpathy 2015) reads lanes in this way; with one lane it is min-char-rnn's sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep(Windows);

impl Sweep {
    /// The sweep over `text_len` characters, `None` if a lane would be shorter than `seq_len + 2`.
    ///
    /// # Panics
    /// If `batch_size` or `seq_len` is zero.
    #[track_caller]
    pub fn new(text_len: usize, batch_size: usize, seq_len: usize) -> Option<Self> {
        let (lanes, lengths) = (Lanes::Aligned, Lengths::Fixed);
        let rule = WindowRule { batch_size, seq_len, lanes, lengths, seed: 0 };
        Windows::new(text_len, rule).map(Self)
    }

    /// Windows in one pass over the text.
    pub fn windows_per_pass(&self) -> usize {
        self.0.windows_per_pass()
    }

    /// Characters read in one pass over the text, in all lanes.
    pub fn chars_per_pass(&self) -> usize {
        self.0.chars_per_pass()
    }

    /// Characters of each lane read in this pass so far.
    pub fn position(&self) -> usize {
        self.0.position
    }

    /// Overwrites `x` and `y`, time-major `[seq_len·batch_size]`, with the next window and the
    /// characters behind each of its characters. Returns whether the lanes went back to their
    /// start, so that the state has to be zeroed.
    ///
    /// # Panics
    /// If `ids` is not the text the sweep was made for, or `x` or `y` is too short.
    #[track_caller]
    pub fn next(&mut self, ids: &[u32], x: &mut [u32], y: &mut [u32]) -> bool {
        let step = self.0.advance();
        self.0.fill(&step, ids, x, y);
        step.went_back
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_lane_is_the_sweep_of_min_char_rnn() {
        // p, n = 0, 0
        // while n < 20:
        //     reset = p + seq_length + 1 >= len(data) or n == 0
        //     if reset: p = 0
        //     record(p, reset); p += seq_length; n += 1
        for (text_len, seq_len) in [(12, 3), (11, 3), (10, 3), (9, 3), (5, 3), (3, 1), (40, 7)] {
            let ids: Vec<u32> = (0..text_len as u32).collect();
            let mut sweep = Sweep::new(text_len, 1, seq_len).expect("long enough");
            let (mut x, mut y) = (vec![0; seq_len], vec![0; seq_len]);
            let mut p = 0;
            for n in 0..20 {
                let reset = text_len <= p + seq_len + 1;
                if reset {
                    p = 0;
                }
                assert_eq!(sweep.next(&ids, &mut x, &mut y), reset, "{text_len} {seq_len} {n}");
                assert_eq!(x, ids[p..p + seq_len]);
                assert_eq!(y, ids[p + 1..p + 1 + seq_len]);
                p += seq_len;
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_continue_themselves(
            lane_len in 3_usize..60, batch_size in 1_usize..5, seq_len in 1_usize..9, extra in 0_usize..4,
        ) {
            let text_len = lane_len * batch_size + extra % batch_size;
            let ids: Vec<u32> = (0..text_len as u32).collect();
            let Some(mut sweep) = Sweep::new(text_len, batch_size, seq_len) else {
                prop_assert!(lane_len < seq_len + 2);
                return Ok(());
            };
            let n = seq_len * batch_size;
            let (mut x, mut y) = (vec![0; n], vec![0; n]);
            for window in 0..3 * sweep.windows_per_pass() {
                let in_pass = window % sweep.windows_per_pass();
                let reset = sweep.next(&ids, &mut x, &mut y);
                prop_assert_eq!(reset, in_pass == 0 && window != 0);
                for t in 0..seq_len {
                    for lane in 0..batch_size {
                        let expected = (lane * lane_len + in_pass * seq_len + t) as u32;
                        prop_assert_eq!(x[t * batch_size + lane], expected);
                        prop_assert_eq!(y[t * batch_size + lane], expected + 1);
                    }
                }
            }
        }
    }
}
