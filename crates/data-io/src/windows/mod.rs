//! The order in which training reads the text.
//!
//! The text is cut into `batch_size` equal contiguous lanes, and each window takes the next
//! characters of every lane, so that lane `b` of one window continues lane `b` of the last and its
//! state carries over. [`Lanes`] says where a lane starts and what it does at its end, [`Lengths`]
//! how many characters a window takes.

mod lengths;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Stream, stream, uniform};

pub use self::lengths::Lengths;
use crate::{Reader, TextError};

/// Where lanes start, and what they do at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lanes {
    /// Each starts at its first character. When fewer characters are left than a window and two
    /// more, which is min-char-rnn's rule, all go back together; what was left is not read.
    #[default]
    Aligned,
    /// Each starts at a pseudo-random place of its own and from its end goes on to its first
    /// character, with its state zeroed. So lanes forget at different times, windows are cut
    /// elsewhere in each pass, and nothing is left out.
    Offset,
}

/// How a text is cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// Lanes that are read side by side, B.
    pub batch_size: usize,
    /// Time steps of a window; where lengths are random, about as many.
    pub seq_len: usize,
    /// Where lanes start.
    pub lanes: Lanes,
    /// How long windows are.
    pub lengths: Lengths,
    /// Seed of the starts and lengths.
    pub seed: u64,
}

impl WindowRule {
    /// The most time steps a window has.
    pub fn max_len(&self) -> usize {
        self.lengths.max_len(self.seq_len)
    }

    /// The fewest characters a text must have.
    pub fn min_text_len(&self) -> usize {
        let lanes = self.batch_size.saturating_mul(self.max_len() + 2);
        lanes.saturating_add(usize::from(self.lanes == Lanes::Offset))
    }

    /// A window to read into, with room for the longest one.
    pub fn new_window(&self) -> Window {
        let n = self.max_len() * self.batch_size;
        let (x, y, resets) = (vec![0; n], vec![0; n], vec![false; n]);
        let (ids, starts) = (vec![0; self.max_len() + 1], vec![false; self.max_len() + 1]);
        Window { batch_size: self.batch_size, len: 0, x, y, resets, ids, starts }
    }
}

/// Inputs and targets of one update, lane after lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    batch_size: usize,
    len: usize,
    x: Vec<u32>,
    y: Vec<u32>,
    resets: Vec<bool>,
    /// What a lane reads, and the character after it.
    ids: Vec<u32>,
    /// Where a document starts in it.
    starts: Vec<bool>,
}

impl Window {
    /// Time steps.
    #[expect(clippy::len_without_is_empty, reason = "a window that was read has a step")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The characters to read, `[batch_size·len]`.
    pub fn x(&self) -> &[u32] {
        &self.x[..self.len * self.batch_size]
    }

    /// The characters after them, `[batch_size·len]`.
    pub fn y(&self) -> &[u32] {
        &self.y[..self.len * self.batch_size]
    }

    /// Where the state of a lane has to be zeroed before the character is read, `[batch_size·len]`:
    /// where a document starts, where a lane does not continue what it read last, and at the very
    /// beginning.
    pub fn resets(&self) -> &[bool] {
        &self.resets[..self.len * self.batch_size]
    }
}

/// The windows of a text, one after the other, without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    rule: WindowRule,
    text_len: usize,
    lane_len: usize,
    /// Windows read so far.
    window: u64,
    /// Characters of each lane that were read in this pass; the next window starts after them.
    position: usize,
}

/// Where a window lies in every lane.
struct Step {
    /// Characters of the pass that were read before it.
    position: usize,
    len: usize,
}

/// Characters that a window reads in one lane one after the other; may be none.
struct Run {
    lane: usize,
    /// The time step of the first of them.
    t: usize,
    /// Where they are in the text.
    places: Range<usize>,
}

impl Windows {
    /// The windows of a text of `text_len` characters, `None` if that is less than
    /// [`WindowRule::min_text_len`].
    ///
    /// # Panics
    /// If `batch_size` or `seq_len` is zero.
    #[track_caller]
    pub fn new(text_len: usize, rule: WindowRule) -> Option<Self> {
        let WindowRule { batch_size, seq_len, .. } = rule;
        assert!(0 < batch_size && 0 < seq_len, "{batch_size} lanes of {seq_len} steps");
        let lane_len = match rule.lanes {
            Lanes::Aligned => text_len / batch_size,
            // Every character is read, so each needs one after it.
            Lanes::Offset => text_len.saturating_sub(1) / batch_size,
        };
        let is_long_enough = rule.max_len() + 2 <= lane_len;
        is_long_enough.then_some(Self { rule, text_len, lane_len, window: 0, position: 0 })
    }

    /// The rule they follow.
    pub fn rule(&self) -> WindowRule {
        self.rule
    }

    /// Characters read in one pass over the text, in all lanes; where the lengths are random, the
    /// most there can be.
    pub fn chars_per_pass(&self) -> usize {
        let per_lane = match (self.rule.lanes, self.rule.lengths) {
            (Lanes::Aligned, Lengths::Fixed) => self.windows_per_pass() * self.rule.seq_len,
            (Lanes::Aligned, Lengths::Random) => self.lane_len - 2,
            (Lanes::Offset, _) => self.lane_len,
        };
        per_lane * self.rule.batch_size
    }

    fn windows_per_pass(&self) -> usize {
        (self.lane_len - 2) / self.rule.seq_len
    }

    /// Overwrites `window` with the next one of `text`.
    ///
    /// # Errors
    /// As [`Reader::read`]; then nothing was read, and the next window is the same.
    ///
    /// # Panics
    /// If `text` is not that of these windows, or has fewer lanes, or `window` was made for another
    /// rule.
    #[track_caller]
    pub fn read(&mut self, text: &mut Reader<'_>, window: &mut Window) -> Result<(), TextError> {
        assert_eq!(text.len(), self.text_len, "the text of these windows");
        let mut next = *self;
        let step = next.advance();
        let Window { batch_size, len, x, y, resets, ids, starts } = window;
        assert!(
            *batch_size == self.rule.batch_size && step.len * *batch_size <= x.len(),
            "a window for {batch_size} lanes of {} steps",
            x.len() / *batch_size,
        );
        *len = step.len;
        for Run { lane, t, places } in self.runs(&step).filter(|run| !run.places.is_empty()) {
            let n = places.len();
            let (ids, starts) = (&mut ids[..=n], &mut starts[..=n]);
            text.read(lane, places.start, ids, starts)?;
            // From the start of a lane nothing follows on what was read before.
            starts[0] |= places.start.is_multiple_of(self.lane_len) || (self.window == 0 && t == 0);
            let rows = lane * step.len + t..lane * step.len + t + n;
            x[rows.clone()].copy_from_slice(&ids[..n]);
            y[rows.clone()].copy_from_slice(&ids[1..]);
            resets[rows].copy_from_slice(&starts[..n]);
        }
        *self = next;
        Ok(())
    }

    /// What a checkpoint keeps: the number of windows read, and the place in the pass.
    pub fn state(&self) -> [u64; 2] {
        [self.window, self.position as u64]
    }

    /// Goes to where other windows of the same rule and text were. Returns whether `state` can be
    /// theirs; if not nothing changes.
    #[must_use]
    pub fn restore(&mut self, state: [u64; 2]) -> bool {
        let [window, position] = state;
        let lane_len = self.lane_len as u64;
        let seq_len = self.rule.seq_len as u64;
        let is_ours = match (self.rule.lanes, self.rule.lengths) {
            _ if window == 0 => position == 0,
            // Nobody reads so many windows, but somebody would count beyond the last number.
            _ if u64::MAX / 2 < window => false,
            (Lanes::Aligned, Lengths::Fixed) => {
                let in_pass = (window - 1) % self.windows_per_pass() as u64;
                position == (in_pass + 1) * seq_len
            }
            (Lanes::Offset, Lengths::Fixed) => {
                let read = u128::from(window) * u128::from(seq_len);
                u128::from(position) == read % u128::from(lane_len)
            }
            (Lanes::Aligned, Lengths::Random) => 0 < position && position + 2 <= lane_len,
            (Lanes::Offset, Lengths::Random) => position < lane_len,
        };
        if is_ours {
            (self.window, self.position) = (window, position as usize);
        }
        is_ours
    }

    fn advance(&mut self) -> Step {
        let WindowRule { lanes, lengths, seq_len, seed, .. } = self.rule;
        let len = lengths.len_of(seq_len, seed, self.window);
        let went_back = lanes == Lanes::Aligned && self.lane_len < self.position + len + 2;
        let position = if went_back { 0 } else { self.position };
        self.position = position + len;
        if lanes == Lanes::Offset {
            self.position %= self.lane_len;
        }
        self.window += 1;
        Step { position, len }
    }

    /// The window lane by lane: what lies before the lane's end, and what after it at its start.
    fn runs(&self, step: &Step) -> impl Iterator<Item = Run> {
        let (Self { rule, lane_len, .. }, &Step { position, len, .. }) = (*self, step);
        let mut starts = LaneStarts::new(&rule, lane_len);
        (0..rule.batch_size).flat_map(move |lane| {
            let (first, end) = (lane * lane_len, (lane + 1) * lane_len);
            let place = first + (starts.next() + position) % lane_len;
            let t = len.min(end - place);
            let before = Run { lane, t: 0, places: place..place + t };
            [before, Run { lane, t, places: first..first + len - t }]
        })
    }
}

/// The place in each lane at which it starts, lane after lane.
struct LaneStarts {
    lane_len: usize,
    /// `None` where all start at 0.
    rng: Option<tensor_core::rng::Rng>,
}

impl LaneStarts {
    fn new(rule: &WindowRule, lane_len: usize) -> Self {
        let is_offset = rule.lanes == Lanes::Offset;
        Self { lane_len, rng: is_offset.then(|| stream(rule.seed, Stream::Windows)) }
    }

    fn next(&mut self) -> usize {
        let lane_len = self.lane_len as f64;
        self.rng.as_mut().map_or(0, |rng| (uniform(rng) * lane_len) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenizer::Char;
    use crate::{BuildTokenizer, Corpus, EncodedCorpus};

    /// A rule and a text for it, some of them too short.
    fn rule_and_len() -> impl Strategy<Value = (WindowRule, usize)> {
        let lanes = prop::sample::select(vec![Lanes::Aligned, Lanes::Offset]);
        let lengths = prop::sample::select(vec![Lengths::Fixed, Lengths::Random]);
        let rule = (1_usize..5, 1_usize..30, lanes, lengths, any::<u64>());
        (rule, 0_usize..60).prop_map(|((batch_size, seq_len, lanes, lengths, seed), extra)| {
            let rule = WindowRule { batch_size, seq_len, lanes, lengths, seed };
            (rule, (rule.min_text_len() + extra * batch_size / 2).saturating_sub(3))
        })
    }

    /// The windows of a text whose characters are their own positions.
    fn windows(rule: WindowRule, text_len: usize) -> Option<(Windows, EncodedCorpus, Window)> {
        let windows = Windows::new(text_len, rule);
        assert_eq!(windows.is_some(), rule.min_text_len() <= text_len);
        Some((windows?, positions(text_len, &[]), rule.new_window()))
    }

    /// A text whose characters are their own positions, with documents that start at some of them.
    fn positions(text_len: usize, documents: &[usize]) -> EncodedCorpus {
        let starts = [0].into_iter().chain(documents.iter().copied());
        let ends = documents.iter().copied().chain([text_len]);
        let symbol = |place| char::from_u32(place as u32).expect("fewer than there are");
        let document = |(start, end)| (start..end).map(symbol).collect::<String>();
        let corpus = Corpus::of_documents(starts.zip(ends).map(document));
        let tokenizer = Char {}.fit(&corpus).expect("made");
        corpus.encode(tokenizer).expect("its own text")
    }

    /// A reader of the whole text.
    fn reader(text: &EncodedCorpus, rule: WindowRule) -> Reader<'_> {
        text.excerpt(0..text.len()).reader(rule.batch_size)
    }

    /// One lane of a window, with its resets.
    fn lane(window: &Window, lane: usize) -> Vec<(usize, bool)> {
        let x = window.x().iter().map(|id| *id as usize).zip(window.resets().iter().copied());
        x.skip(lane * window.len).take(window.len).collect()
    }

    #[test]
    fn one_aligned_lane_is_the_sweep_of_min_char_rnn() {
        // p, n = 0, 0
        // while n < 20:
        //     reset = p + seq_length + 1 >= len(data) or n == 0
        //     if reset: p = 0
        //     record(p, reset); p += seq_length; n += 1
        for (text_len, seq_len) in [(12, 3), (11, 3), (10, 3), (9, 3), (5, 3), (3, 1), (40, 7)] {
            let (lanes, lengths) = (Lanes::Aligned, Lengths::Fixed);
            let rule = WindowRule { batch_size: 1, seq_len, lanes, lengths, seed: 0 };
            let (mut windows, text, mut window) = windows(rule, text_len).expect("long enough");
            let mut text = reader(&text, rule);
            let ids: Vec<u32> = (0..text_len as u32).collect();
            let mut p = 0;
            for n in 0..20 {
                let reset = text_len <= p + seq_len + 1 || n == 0;
                if reset {
                    p = 0;
                }
                windows.read(&mut text, &mut window).expect("made");
                assert_eq!(window.resets()[0], reset, "{text_len} {seq_len} {n}");
                assert!(window.resets()[1..].iter().all(|reset| !reset));
                assert_eq!(window.x(), &ids[p..p + seq_len]);
                assert_eq!(window.y(), &ids[p + 1..p + 1 + seq_len]);
                p += seq_len;
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_continue_themselves_or_are_reset((rule, text_len) in rule_and_len()) {
            let Some((mut windows, text, mut window)) = windows(rule, text_len) else { return Ok(()) };
            let mut text = reader(&text, rule);
            let mut last = vec![None; rule.batch_size];
            for index in 0..300 {
                windows.read(&mut text, &mut window).expect("made");
                prop_assert_eq!(window.len(), rule.lengths.len_of(rule.seq_len, rule.seed, index));
                prop_assert!(window.x().iter().zip(window.y()).all(|(x, y)| *y == x + 1));
                for (b, last) in last.iter_mut().enumerate() {
                    for (place, reset) in lane(&window, b) {
                        let lane_start = place.is_multiple_of(windows.lane_len);
                        match *last {
                            // Only a lane's own end leads anywhere but to the next character.
                            Some(last) if !lane_start => prop_assert_eq!(place, last + 1),
                            _ => prop_assert!(reset),
                        }
                        prop_assert_eq!(reset, lane_start || last.is_none());
                        prop_assert_eq!(place / windows.lane_len, b);
                        *last = Some(place);
                    }
                }
            }
        }

        #[test]
        fn a_pass_reads_every_character_once((rule, text_len) in rule_and_len()) {
            let Some((mut windows, text, mut window)) = windows(rule, text_len) else { return Ok(()) };
            let mut text = reader(&text, rule);
            let mut read = vec![0; text_len];
            let mut passes = 0;
            // A lane's characters of the pass so far.
            let mut in_pass = 0;
            while passes < 3 {
                let before = windows;
                windows.read(&mut text, &mut window).expect("made");
                match rule.lanes {
                    Lanes::Aligned if window.x()[0] == 0 && before.window != 0 => {
                        let left = windows.lane_len - in_pass;
                        prop_assert!(left < window.len() + 2);
                        for (place, times) in read.iter().enumerate() {
                            let is_left = windows.lane_len <= place % windows.lane_len + left;
                            let is_extra = windows.lane_len * rule.batch_size <= place;
                            prop_assert_eq!(*times, i32::from(!is_left && !is_extra));
                        }
                        prop_assert!(in_pass * rule.batch_size <= windows.chars_per_pass());
                        prop_assert!(rule.lengths == Lengths::Random
                            || in_pass * rule.batch_size == windows.chars_per_pass());
                        (in_pass, passes) = (0, passes + 1);
                        read.fill(0);
                    }
                    _ => {}
                }
                for t in 0..window.len() {
                    if rule.lanes == Lanes::Offset && in_pass == windows.lane_len {
                        let all = windows.chars_per_pass();
                        prop_assert!(text_len - all <= rule.batch_size);
                        prop_assert!(read[..all].iter().all(|times| *times == 1));
                        (in_pass, passes) = (0, passes + 1);
                        read.fill(0);
                    }
                    for place in window.x().iter().skip(t).step_by(window.len()) {
                        read[*place as usize] += 1;
                    }
                    in_pass += 1;
                }
            }
        }

        #[test]
        fn a_state_is_reset_where_a_document_starts(
            (rule, text_len) in rule_and_len(), documents in prop::collection::btree_set(0_usize..400, 0..60),
        ) {
            let Some((mut windows, text, mut window)) = windows(rule, text_len) else { return Ok(()) };
            let mut without = windows;
            let mut plain = rule.new_window();
            let documents: Vec<_> = documents.into_iter().filter(|start| *start < text_len).collect();
            let cut = positions(text_len, &documents);
            let (mut text, mut cut) = (reader(&text, rule), reader(&cut, rule));
            for _ in 0..100 {
                windows.read(&mut cut, &mut window).expect("made");
                without.read(&mut text, &mut plain).expect("made");
                prop_assert_eq!(window.x(), plain.x());
                let is_start = |id: &u32| documents.contains(&(*id as usize));
                for ((id, reset), plain) in window.x().iter().zip(window.resets()).zip(plain.resets()) {
                    prop_assert_eq!(*reset, *plain || is_start(id));
                }
            }
        }

        #[test]
        fn restored_windows_go_on_in_the_same_way(
            (rule, text_len) in rule_and_len(), before in 0..200, garbage in any::<[u64; 2]>(),
        ) {
            let Some((mut windows, _, mut window)) = windows(rule, text_len) else { return Ok(()) };
            let text = positions(text_len, &[2]);
            let (mut text, mut again) = (reader(&text, rule), reader(&text, rule));
            let mut restored = windows;
            for _ in 0..before {
                windows.read(&mut text, &mut window).expect("made");
            }
            prop_assert!(restored.restore(windows.state()));
            prop_assert_eq!(restored, windows);
            let mut other = rule.new_window();
            for _ in 0..20 {
                windows.read(&mut text, &mut window).expect("made");
                restored.read(&mut again, &mut other).expect("made");
                prop_assert_eq!(window.x(), other.x());
                prop_assert_eq!((window.y(), window.resets()), (other.y(), other.resets()));
            }

            // What nobody's windows were at is refused, or at least does no harm.
            let at = restored.state();
            for state in [garbage, [garbage[0], at[1]], [0, 1 + at[1]], [u64::MAX, garbage[1] % 99]] {
                if restored.restore(state) {
                    restored.read(&mut again, &mut other).expect("made");
                }
            }
            if rule.lengths == Lengths::Fixed {
                let at = windows.state();
                prop_assert!(!windows.restore([at[0], at[1] + 1]));
                prop_assert!(!windows.restore([at[0], at[1].wrapping_sub(1)]));
            }
            prop_assert!(!windows.restore([at[0], text_len as u64]));
        }
    }

    #[test]
    fn lanes_with_offsets_forget_at_different_times() {
        let rule = WindowRule {
            batch_size: 8,
            seq_len: 10,
            lanes: Lanes::Offset,
            lengths: Lengths::Fixed,
            seed: 1,
        };
        let (mut windows, text, mut window) = windows(rule, 8001).expect("long enough");
        let mut text = reader(&text, rule);
        let (mut resets, mut starts) = (Vec::new(), Vec::new());
        for step in 0..100 {
            windows.read(&mut text, &mut window).expect("made");
            if step == 0 {
                starts = window.x().iter().step_by(10).map(|id| *id as usize % 1000).collect();
            } else {
                let lanes = || window.resets().chunks(10);
                let steps = (0..10).filter(|t| lanes().any(|lane| lane[*t]));
                resets.extend(steps.map(|t| 10 * step + t));
            }
        }
        // The same everywhere and forever.
        assert_eq!(starts, [662, 405, 413, 802, 573, 37, 124, 506]);
        assert_eq!(resets.len(), 8);
    }
}
