//! The order in which training reads the text.

/// Goes through the text from left to right in windows, in several lanes at once.
///
/// The text is cut into `batch_size` equal contiguous lanes; what is left over at the end is not
/// read. Each window takes the next `seq_len` characters of every lane, so that lane `b` of one
/// window continues lane `b` of the last and its state carries over. When fewer than `seq_len + 2`
/// characters are left in the lanes, which is min-char-rnn's rule, all go back to their start.
///
/// char-rnn (Karpathy 2015) reads lanes in this way; with one lane it is min-char-rnn's sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    lane_len: usize,
    batch_size: usize,
    seq_len: usize,
    /// Characters of each lane that were read in this pass; the window starts behind them.
    position: usize,
}

impl Sweep {
    /// The sweep over `text_len` characters, `None` if a lane would be shorter than `seq_len + 2`.
    ///
    /// # Panics
    /// If `batch_size` or `seq_len` is zero.
    #[track_caller]
    pub fn new(text_len: usize, batch_size: usize, seq_len: usize) -> Option<Self> {
        assert!(0 < batch_size && 0 < seq_len, "{batch_size} lanes of {seq_len} steps");
        let lane_len = text_len / batch_size;
        (seq_len + 2 <= lane_len).then_some(Self { lane_len, batch_size, seq_len, position: 0 })
    }

    /// Windows in one pass over the text.
    pub fn windows_per_pass(&self) -> usize {
        (self.lane_len - 2) / self.seq_len
    }

    /// Characters read in one pass over the text, in all lanes.
    pub fn chars_per_pass(&self) -> usize {
        self.windows_per_pass() * self.seq_len * self.batch_size
    }

    /// Characters of each lane read in this pass so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Overwrites `x` and `y`, time-major `[seq_len·batch_size]`, with the next window and the
    /// characters behind each of its characters. Returns whether the lanes went back to their
    /// start, so that the state has to be zeroed.
    ///
    /// # Panics
    /// If `ids` is not the text the sweep was made for, or `x` or `y` is too short.
    #[track_caller]
    pub fn next(&mut self, ids: &[u32], x: &mut [u32], y: &mut [u32]) -> bool {
        assert_eq!(ids.len() / self.batch_size, self.lane_len, "the text of the sweep");
        let ends = self.lane_len < self.position + self.seq_len + 2;
        if ends {
            self.position = 0;
        }
        for t in 0..self.seq_len {
            for lane in 0..self.batch_size {
                let at = lane * self.lane_len + self.position + t;
                x[t * self.batch_size + lane] = ids[at];
                y[t * self.batch_size + lane] = ids[at + 1];
            }
        }
        self.position += self.seq_len;
        ends
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
